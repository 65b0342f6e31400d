/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>

#include "engine/acquire.h"
#include "model/qemu-device.h"

/* The trailing a{sv} of a method. Its form only: names, types, no name twice. Each returns 0, or what the handler has to return with
 * InvalidArgs in error. Strings are the message's own and live as long as it does. */

int options_read_none(sd_bus_message *m, sd_bus_error *error);
int options_read_edit(sd_bus_message *m, EditOptions *ret, sd_bus_error *error);
int options_read_create(sd_bus_message *m, CreateOptions *ret, sd_bus_error *error);
int options_read_acquire(sd_bus_message *m, AcquireOptions *ret, sd_bus_error *error);
/* ret_owner: "" if it was not given. */
int options_read_check(sd_bus_message *m, const char **ret_owner, sd_bus_error *error);
/* To be freed with lun_options_done(), on an error as well. */
int options_read_lun(sd_bus_message *m, LunOptions *ret, sd_bus_error *error);
/* ret_target: NULL if it was not given. */
int options_read_export(sd_bus_message *m, LunOptions *ret, const char **ret_target, sd_bus_error *error);

/* prune NULL: there is no such option. */
int options_read_change(sd_bus_message *m, EditOptions *ret, bool *ret_prune, bool *ret_partly, sd_bus_error *error);
/* ret_target: NULL if it was not given. */
int options_read_import(sd_bus_message *m, EditOptions *ret, bool *ret_partly, const char **ret_target, sd_bus_error *error);

typedef struct ExportOptions {
        const char *target;     /* NULL: not given */
        bool portable;
        bool partly;
        bool has_generation;
        uint64_t generation;
} ExportOptions;

int options_read_dump(sd_bus_message *m, ExportOptions *ret, sd_bus_error *error);
int options_read_qemu(sd_bus_message *m, QemuOptions *ret, sd_bus_error *error);
int options_read_libvirt(sd_bus_message *m, QemuOptions *ret, sd_bus_error *error);

void lun_options_done(LunOptions *o);
