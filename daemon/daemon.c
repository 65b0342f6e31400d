/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <malloc.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "base/log.h"
#include "base/parse.h"
#include "bus/bus-config.h"
#include "bus/bus-lun.h"
#include "bus/bus-manager.h"
#include "bus/bus-owner.h"
#include "bus/bus-target.h"
#include "bus/polkit.h"
#include "bus/publish.h"
#include "daemon.h"
#include "dbus/vhostscsi-names.h"
#include "engine/autoexport.h"
#include "engine/files.h"
#include "engine/drift.h"
#include "engine/foreign.h"
#include "engine/hotplug.h"
#include "engine/owners.h"
#include "engine/queue.h"
#include "engine/record.h"
#include "engine/request.h"
#include "engine/statistics.h"
#include "engine/worker.h"

static void event_source_unrefp(sd_event_source **s) {
        sd_event_source_unref(*s);
}

/* What is in the kernel is looked at before the name is taken, so that the first caller sees it; a LUN that hangs does not hold that up. */
#define FIRST_LOOK_USEC UINT64_C(10000000)

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata) {
        return sd_event_exit(sd_event_source_get_event(source), 0);
}

static int start_loop(Engine *e) {
        int r;

        r = sd_event_default(&e->event);
        if (r < 0)
                return log_error_errno(r, "Cannot make an event loop");

        r = sd_event_add_signal(e->event, NULL, SIGTERM, on_signal, NULL);
        if (r >= 0)
                r = sd_event_add_signal(e->event, NULL, SIGINT, on_signal, NULL);
        if (r >= 0)
                r = sd_event_set_watchdog(e->event, true);
        if (r < 0)
                return log_error_errno(r, "Cannot set up signals and watchdog");

        return 0;
}

static int start_model(Engine *e, const char *state_dir) {
        const char *runtime_dir = getenv("RUNTIME_DIRECTORY") ?: "/run/vhscsid";
        struct timespec now;
        int r;

        clock_gettime(CLOCK_REALTIME, &now);
        r = registry_init(&e->registry, (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000);
        if (r >= 0)
                r = (e->inventory = inventory_new()) ? 0 : -ENOMEM;
        if (r < 0)
                return log_oom();

        r = store_new(state_dir, &e->store);
        if (r < 0)
                return log_error_errno(r, "Cannot open the state directory %s", state_dir);

        r = store_load(e->store, &e->registry);
        if (r < 0)
                return log_error_errno(r, "Cannot read the state directory %s", state_dir);

        r = record_start(e, state_dir);
        if (r < 0)
                return log_oom();

        r = removed_new(state_dir, &e->removed);
        if (r < 0)
                return log_error_errno(r, "Cannot read what was removed by hand in %s", state_dir);

        r = owners_new(e, runtime_dir, &e->owners);
        if (r < 0)
                return log_error_errno(r, "Cannot read who has which target in %s", runtime_dir);

        r = autoexport_new(&e->autoexport);
        if (r < 0)
                return log_oom();

        return 0;
}

static int start_kernel(Engine *e) {
        const char *step = NULL;
        int fd, r;

        r = bringup(&e->fabric, &fd, &step);
        if (r < 0)
                return log_error_errno(r, "Cannot start: %s", step ?: "bring up the fabric");

        r = cfs_new(fd, &e->cfs);
        if (r < 0) {
                safe_close(fd);
                return log_error_errno(r, "Cannot use configfs");
        }

        return 0;
}

static int start_news(Engine *e) {
        /* For tests of lost events: see HACKING.md. */
        const char *buffer = getenv("VHSCSID_UEVENT_BUFFER");
        uint32_t size = 0;
        int r;

        if (buffer && (parse_u32(buffer, &size) < 0 || size == 0))
                log_warning("VHSCSID_UEVENT_BUFFER is no number of bytes: %s", buffer);

        r = uevents_new(e->event, size, hotplug_on_device, hotplug_on_lost, e, &e->uevents);
        if (r < 0)
                return log_error_errno(r, "Cannot listen to udev");
        uevents_defer_unwanted(e->uevents, hotplug_is_wanted);

        return 0;
}

static int start_devices(Engine *e) {
        int r;

        r = hotplug_start(e);
        if (r < 0)
                return log_error_errno(r, "Cannot enumerate devices");

        r = files_new(&e->files);
        if (r < 0)
                return log_oom();
        files_look(e);

        /* Before the first look, so that nobody comes in between. */
        if (fabric_is_bundled(&e->fabric)) {
                r = guests_new(e->event, hotplug_on_guest, e, &e->guests);
                if (r < 0)
                        return log_error_errno(r, "Cannot listen to the fabric's node");
        }

        return 0;
}

static int on_kick(sd_event_source *source, void *userdata) {
        return 0;
}

static int first_look(Engine *e) {
        _cleanup_(event_source_unrefp) sd_event_source *kick = NULL;
        uint64_t deadline;
        int r;

        r = queue_start(e);
        if (r < 0)
                return log_error_errno(r, "Cannot start the queue");

        r = drift_new(e, "/sys/kernel/config/target", &e->drift);
        if (r < 0)
                log_warning_errno(r, "Cannot watch configfs, targets that others make are seen by Rescan() only");

        e->survey_wanted = true;
        registry_mark_all(&e->registry);

        /* The loop runs its post sources after an event only: this one sets them going. */
        r = sd_event_add_defer(e->event, &kick, on_kick, NULL);
        if (r < 0)
                return log_error_errno(r, "Cannot start the queue");

        for (deadline = engine_now(e) + FIRST_LOOK_USEC; !queue_is_idle(e) && engine_now(e) < deadline;) {
                r = sd_event_run(e->event, deadline - engine_now(e));
                if (r < 0)
                        return log_error_errno(r, "Cannot look at configfs");
                if (sd_event_get_state(e->event) == SD_EVENT_FINISHED)
                        return -ECANCELED;
        }

        return 0;
}

static int start_bus(Daemon *d) {
        Engine *e = &d->engine;
        int r;

        r = sd_bus_open_system(&d->bus);
        if (r < 0)
                return log_error_errno(r, "Cannot connect to the system bus");

        r = bus_manager_add(d->bus, e);
        if (r >= 0)
                r = bus_config_add(d->bus, e);
        if (r >= 0)
                r = bus_owner_add(d->bus, e);
        if (r >= 0)
                r = bus_target_add(d->bus, e);
        if (r >= 0)
                r = bus_lun_add(d->bus, e);
        if (r >= 0)
                r = publish_start(d->bus, e);
        if (r >= 0)
                r = sd_bus_attach_event(d->bus, e->event, SD_EVENT_PRIORITY_NORMAL);
        if (r < 0)
                return log_error_errno(r, "Cannot publish objects");

        e->bus = d->bus;
        e->running = true;
        r = sd_bus_request_name(d->bus, VHOSTSCSI_BUS_NAME, 0);
        if (r < 0)
                return log_error_errno(r, "Cannot own the name %s", VHOSTSCSI_BUS_NAME);

        return 0;
}

int daemon_start(Daemon *d, const char *state_dir) {
        Engine *e = &d->engine;
        int r;

        list_init(&e->workers);
        list_init(&e->readings);
        list_init(&e->acquiring);
        list_init(&e->rescans);
        list_init(&e->answered);
        list_init(&e->probed);

        r = start_loop(e);
        /* The names of all devices are looked at while the two others are at work. */
        if (r >= 0)
                r = start_news(e);
        if (r >= 0)
                r = start_kernel(e);
        if (r >= 0)
                r = start_model(e, state_dir);
        if (r >= 0)
                r = start_devices(e);
        if (r >= 0)
                r = first_look(e);
        if (r >= 0) {
                /* Not earlier: what others export has been seen now. */
                autoexport_sweep(e);
                r = start_bus(d);
        }
        if (r < 0)
                return r;

        hotplug_catch_up(e);

        /* What the devices and the first look took for a moment, in threads as well. */
        (void) malloc_trim(0);

        (void) sd_notify(false, "READY=1\nSTATUS=Keeping targets as they are wanted");
        log_info("Ready: %zu targets, fabric %s (%s)", map_size(e->registry.targets), e->fabric.module, e->fabric.origin);
        return 0;
}

int daemon_run(Daemon *d) {
        int r = sd_event_loop(d->engine.event);

        (void) sd_notify(false, "STOPPING=1");
        return r < 0 ? log_error_errno(r, "The event loop failed") : 0;
}

void daemon_done(Daemon *d) {
        Engine *e = &d->engine;
        Target *t;
        Request *q;

        /* Nothing in the kernel changes because we go. */
        if (e->workers.next)
                worker_stop_all(e);
        foreign_stop(e);
        if (e->readings.next)
                statistics_stop(e);
        if (e->registry.targets)
                REGISTRY_FOREACH(&e->registry, t)
                        LIST_FOREACH(&t->requests, q, Request, link)
                                request_free(q);
        if (e->acquiring.next)
                LIST_FOREACH(&e->acquiring, q, Request, link)
                        request_free(q);
        if (e->answered.next)
                request_flush(e);

        polkit_stop();
        publish_stop(e);
        queue_stop(e);
        sd_bus_flush_close_unref(d->bus);
        strv_free(e->survey_closely);
        drift_free(e->drift);
        files_free(e->files);
        guests_free(e->guests);
        owners_free(e->owners);
        uevents_free(e->uevents);
        registry_done(&e->registry);
        inventory_free(e->inventory);
        autoexport_free(e->autoexport);
        removed_free(e->removed);
        history_free(e->history);
        store_free(e->store);
        cfs_free(e->cfs);
        fabric_done(&e->fabric);
        sd_event_unref(e->event);
}
