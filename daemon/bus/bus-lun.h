/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/edit.h"

/* org.vhostscsi.Lun */

int bus_lun_add(sd_bus *bus, Engine *e);

/* Lun.Remove and Target.RemoveLun are one thing: asked, refused or stored, and answered when the kernel is done. */
int bus_lun_remove(Engine *e, sd_bus_message *m, Target *t, uint32_t number, const EditOptions *o, sd_bus_error *error);

/* (ss) of LastError. */
int bus_lun_append_error(sd_bus_message *reply, const char *code, const char *text);
