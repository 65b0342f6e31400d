/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bus-client.h"

/* The verbs. argv[0] is the verb, its arguments follow; their number has been checked. Each returns 0, an exit status for which the
 * reason has been printed, or a negative errno of which nothing has been said. */

/* verb-target.c */
int verb_list(Client *c, char **argv);
int verb_show(Client *c, char **argv);
int verb_create(Client *c, char **argv);
int verb_destroy(Client *c, char **argv);
int verb_set_label(Client *c, char **argv);

/* Prints the WWN of a target that was made or adopted, as its verb prints it. */
int target_print_new(Client *c, const char *path);

/* verb-adopt.c */
int verb_adopt(Client *c, char **argv);

/* verb-config.c */
int verb_plan(Client *c, char **argv);
int verb_apply(Client *c, char **argv);
int verb_import(Client *c, char **argv);
int verb_rollback(Client *c, char **argv);
int verb_dump(Client *c, char **argv);

/* verb-guest.c */
int verb_qemu_args(Client *c, char **argv);
int verb_libvirt_xml(Client *c, char **argv);

/* verb-history.c */
int verb_history(Client *c, char **argv);
int verb_diff(Client *c, char **argv);

/* Or status. */
int history_parse_generation(Client *c, const char *text, uint64_t *ret);

/* verb-doctor.c */
int verb_doctor(Client *c, char **argv);

/* verb-hook.c */
int verb_libvirt_hook(Client *c, char **argv);

/* verb-lun.c */
int verb_add_lun(Client *c, char **argv);
int verb_remove_lun(Client *c, char **argv);
int verb_export(Client *c, char **argv);

/* verb-device.c */
int verb_devices(Client *c, char **argv);
int verb_rescan(Client *c, char **argv);

/* verb-stat.c */
int verb_stat(Client *c, char **argv);

/* verb-status.c */
int verb_status(Client *c, char **argv);

/* verb-owner.c */
int verb_acquire(Client *c, char **argv);
int verb_release(Client *c, char **argv);

/* verb-ready.c */
int verb_ready(Client *c, char **argv);

/* verb-monitor.c */
int verb_monitor(Client *c, char **argv);
