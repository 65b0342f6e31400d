/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/engine.h"
#include "engine/refusal.h"
#include "kernel/mounts.h"

/* What the host itself does with a device: the questions that only the outside world answers, asked at the moment of a call. */

typedef struct SurveyedDevice {
        DeviceVerdict verdict;
        char *detail;           /* for people; NULL if usable */
} SurveyedDevice;

void surveyed_device_done(SurveyedDevice *s);

/* mounts: from mounts_new(), one for many devices. A device that a LUN of ours has open is held by us and counts as usable. */
int survey_device(Engine *e, const Device *d, const Mounts *mounts, SurveyedDevice *ret);

/* Resolves what a caller named: a canonical source, whose device may be absent (then *ret_device is NULL), or a path, a place or a file, which must
 * be there. *ret_source: the most stable text for it. Follows no magic link and opens no device. */
int survey_resolve(Engine *e, const char *source, char **ret_source, const Device **ret_device, Refusal *refusal);

/* The registry's backstore of a source, or of the device (may be NULL) by whichever of its names that was made: one device has one. */
Backstore *survey_backstore(const Engine *e, const Registry *registry, const char *source, const Device *d);

/* Turns a verdict other than usable into the refusal for it. */
int survey_refuse(const Device *d, const SurveyedDevice *s, Refusal *refusal);
