/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/cleanup.h"
#include "dbus/vhostscsi-names.h"
#include "exit-status.h"

#define STANDARD(name) "org.freedesktop.DBus.Error." name

/* The order is that of the man page's table, which a test compares with this one. */
static const ExitStatus table[] = {
        { VHOSTSCSI_ERROR("NotFound"),           3, "'vhscsictl list' shows the targets, 'show WWN' a target's LUNs, 'history' the generations" },
        { VHOSTSCSI_ERROR("AlreadyExists"),      4, "'vhscsictl list' shows the targets; create --if-absent and add-lun --shareable say that it is meant" },
        { VHOSTSCSI_ERROR("InUse"),              5, "--force takes the disks away under the running guest" },
        { VHOSTSCSI_ERROR("Foreign"),            6, "'vhscsictl adopt WWN' takes it over as it is; or use the tool that made it" },
        { VHOSTSCSI_ERROR("InvalidWwn"),         7, "'vhscsictl list' shows WWNs and labels" },
        { VHOSTSCSI_ERROR("InvalidSource"),      8, "Name the disk by /dev/..., dm-uuid=, wwid=, by-id= or file=; 'vhscsictl devices' shows what there is" },
        { STANDARD("InvalidArgs"),               9, "See 'vhscsictl --help' and vhscsictl(1)" },
        { STANDARD("InvalidSignature"),          9, "Client and daemon seem to be of different versions" },
        { STANDARD("AccessDenied"),             10, "Run it as root, or ask the administrator for a polkit rule" },
        { STANDARD("AuthFailed"),               10, "Run it as root, or ask the administrator for a polkit rule" },
        { STANDARD("InteractiveAuthorizationRequired"), 10, "Run it on a terminal without --no-ask-password, or as root" },
        { VHOSTSCSI_ERROR("LunConflict"),       11, "'vhscsictl show WWN' says what is where; without --lun the lowest free number is taken" },
        { VHOSTSCSI_ERROR("LunOutOfRange"),     12, NULL },
        { VHOSTSCSI_ERROR("DeviceNotFound"),    13, "'vhscsictl devices' shows what there is; dm-uuid= or wwid= may name a disk that comes later" },
        { VHOSTSCSI_ERROR("DeviceBusy"),        14, "Free the device first; 'vhscsictl devices' says who holds what" },
        { VHOSTSCSI_ERROR("DeviceIsPathMember"), 15, "Export the multipath map, not one of its paths; 'vhscsictl devices' shows both" },
        { VHOSTSCSI_ERROR("DeviceUnsafe"),      16, "The host itself uses this device; 'vhscsictl devices' shows which are free" },
        { VHOSTSCSI_ERROR("SerialConflict"),    17, "Choose another --serial: its first 25 hex digits must be unique on this host" },
        { VHOSTSCSI_ERROR("NotReady"),          18, "'vhscsictl show WWN' says what is missing" },
        { VHOSTSCSI_ERROR("TimedOut"),          19, "'vhscsictl show WWN' says how far it came; give it more time with --timeout" },
        { STANDARD("TimedOut"),                 19, "'vhscsictl show WWN' says how far it came; give it more time with --timeout" },
        { VHOSTSCSI_ERROR("GenerationMismatch"), 20, "Somebody changed something in between; look at it again, then repeat the command" },
        { VHOSTSCSI_ERROR("ConfigCorrupt"),     21, "The journal names the file that was set aside: journalctl -u vhscsid" },
        { VHOSTSCSI_ERROR("ConfigTooNew"),      22, "A newer vhscsid wrote it; upgrade this one" },
        { VHOSTSCSI_ERROR("ImportRejected"),    23, "Change what it names, or leave it out with --partly where the verb has it; nothing was touched" },
        { VHOSTSCSI_ERROR("FabricMissing"),     24, "Load the fabric module: modprobe vhost_scsi" },
        { VHOSTSCSI_ERROR("ConfigfsMissing"),   25, "Mount it: systemctl start sys-kernel-config.mount" },
        { VHOSTSCSI_ERROR("Kernel"),            26, "The kernel refused; the journal has the details: journalctl -k -u vhscsid" },
        { VHOSTSCSI_ERROR("StoreFailed"),       27, "Look for a full or read-only file system at /var/lib/vhscsid; nothing was changed" },
        { STANDARD("ServiceUnknown"), EXIT_UNREACHABLE, "Start the daemon: systemctl start vhscsid" },
        { STANDARD("NameHasNoOwner"), EXIT_UNREACHABLE, "Start the daemon: systemctl start vhscsid" },
        { STANDARD("Disconnected"),   EXIT_UNREACHABLE, "See 'systemctl status dbus vhscsid'" },
        { STANDARD("Spawn.ExecFailed"), EXIT_UNREACHABLE, "See what keeps it from starting: systemctl status vhscsid" },
        { STANDARD("Spawn.ChildExited"), EXIT_UNREACHABLE, "See what keeps it from starting: systemctl status vhscsid" },
        { STANDARD("Spawn.ChildSignaled"), EXIT_UNREACHABLE, "See what keeps it from starting: systemctl status vhscsid" },
        { STANDARD("Spawn.ServiceNotFound"), EXIT_UNREACHABLE, "Start the daemon: systemctl start vhscsid" },
        { "org.freedesktop.systemd1.NoSuchUnit", EXIT_UNREACHABLE, "vhscsid.service is not installed" },
        { "org.freedesktop.systemd1.UnitMasked", EXIT_UNREACHABLE, "systemctl unmask vhscsid" },
        { STANDARD("NoReply"),           EXIT_NO_REPLY, "The outcome is unknown; see 'vhscsictl list' and 'systemctl status vhscsid'" },
        { STANDARD("Timeout"),           EXIT_NO_REPLY, "The outcome is unknown; see 'vhscsictl list' and 'systemctl status vhscsid'" },
        { STANDARD("UnknownMethod"),            30, "The daemon is older than this client; upgrade or restart it" },
        { STANDARD("UnknownInterface"),         30, "The daemon is older than this client; upgrade or restart it" },
        { STANDARD("UnknownProperty"),          30, "The daemon is older than this client; upgrade or restart it" },
        { STANDARD("UnknownObject"),             3, "It went away in between; 'vhscsictl list' shows the targets" },
        { STANDARD("LimitsExceeded"),           32, "Too many calls at once; try again" },
        /* The client's own: no error of the bus. */
        { VHSCSICTL_ERROR_AMBIGUOUS,            31, "Name the target by its WWN; 'vhscsictl list' shows them" },
};

const ExitStatus *exit_status_for_error(const char *error) {
        static const ExitStatus general = { NULL, EXIT_FAILURE, NULL };

        for (size_t i = 0; error && i < ELEMENTSOF(table); i++)
                if (streq(table[i].error, error))
                        return &table[i];

        return &general;
}
