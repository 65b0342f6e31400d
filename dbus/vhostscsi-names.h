/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Every string of the bus interface, once. Daemon, client and tests include this file. */

#define VHOSTSCSI_BUS_NAME              "org.vhostscsi"

#define VHOSTSCSI_ROOT_PATH             "/org/vhostscsi"
#define VHOSTSCSI_TARGET_PREFIX         "/org/vhostscsi/target"

#define VHOSTSCSI_MANAGER_INTERFACE     "org.vhostscsi.Manager"
#define VHOSTSCSI_TARGET_INTERFACE      "org.vhostscsi.Target"
#define VHOSTSCSI_LUN_INTERFACE         "org.vhostscsi.Lun"

#define VHOSTSCSI_ACTION_MANAGE_TARGETS "org.vhostscsi.manage-targets"
#define VHOSTSCSI_ACTION_MANAGE_LUNS    "org.vhostscsi.manage-luns"
#define VHOSTSCSI_ACTION_MANAGE_CONFIG  "org.vhostscsi.manage-config"
#define VHOSTSCSI_ACTION_ACQUIRE        "org.vhostscsi.acquire"
/* Asked for on top of the member's own action, by the option "force". */
#define VHOSTSCSI_ACTION_FORCE          "org.vhostscsi.force"

#define VHOSTSCSI_ERROR_PREFIX          "org.vhostscsi.Error."
#define VHOSTSCSI_ERROR(name)           VHOSTSCSI_ERROR_PREFIX name
/* The names behind the prefix are the table in daemon/engine/refusal.c, the one list of what can be refused. */
