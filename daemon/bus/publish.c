/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"
#include "bus/bus-manager.h"
#include "bus/object-path.h"
#include "bus/publish.h"
#include "engine/lun-view.h"
#include "engine/owners.h"
#include "engine/queue.h"
#include "dbus/vhostscsi-names.h"
#include "engine/request.h"

/* After the queue's own post source, which may have answers for us. */
#define PRIORITY (QUEUE_PRIORITY + 10)

#define NAMES_MAX 16U

typedef struct Publisher {
        sd_bus *bus;            /* NULL: nobody is told */
        Engine *engine;
        sd_event_source *post;
        uint64_t generation;    /* of the manager, as told last */
        const char *state;
        unsigned problems;
} Publisher;

/* One process, one bus, as in polkit.c. */
static Publisher publisher;

/* The names of an object's changed properties. */
typedef struct Names {
        const char *name[NAMES_MAX + 1];
        size_t n;
} Names;

static void names_add(Names *names, const char *name) {
        assert(names->n < NAMES_MAX);
        names->name[names->n++] = name;
}

/* r: what free_and_strdup() returned. Without memory the change is told now and once more later, rather than never. */
static void names_add_copied(Names *names, int r, const char *name) {
        if (r != 0)
                names_add(names, name);
}

static void emit_changed(sd_bus *bus, const char *path, const char *interface, const Names *names) {
        int r;

        if (names->n == 0 || !bus)
                return;

        r = sd_bus_emit_properties_changed_strv(bus, path, interface, (char **) names->name);
        if (r < 0)
                log_warning_errno(r, "Cannot tell of changes of %s", path);
}

static void emit_added(sd_bus *bus, const char *path) {
        int r = bus ? sd_bus_emit_object_added(bus, path) : 0;

        if (r < 0)
                log_warning_errno(r, "Cannot tell of new object %s", path);
}

/* By hand: sd_bus_emit_object_removed() wants to find the object, which is no more. Names what InterfacesAdded named. */
static void emit_removed(sd_bus *bus, const char *path, const char *interface) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        if (!bus)
                return;

        r = sd_bus_message_new_signal(bus, &m, VHOSTSCSI_ROOT_PATH, "org.freedesktop.DBus.ObjectManager", "InterfacesRemoved");
        if (r >= 0)
                r = sd_bus_message_append(m, "oas", path, 4, "org.freedesktop.DBus.Peer", "org.freedesktop.DBus.Introspectable",
                                          "org.freedesktop.DBus.Properties", interface);
        if (r >= 0)
                r = sd_bus_send(bus, m, NULL);
        if (r < 0)
                log_warning_errno(r, "Cannot tell of removed object %s", path);
}

static void publish_removed(Publisher *p) {
        Registry *registry = &p->engine->registry;

        for (size_t i = 0; i < registry->n_removed; i++) {
                Removed *gone = &registry->removed[i];
                _cleanup_free_ char *path = NULL;
                int r;

                r = gone->number < 0 ? object_path_target(gone->wwn, &path) : object_path_lun(gone->wwn, (uint32_t) gone->number, &path);
                if (r < 0)
                        log_warning_errno(r, "Cannot tell of a removed object");
                else
                        emit_removed(p->bus, path, gone->number < 0 ? VHOSTSCSI_TARGET_INTERFACE : VHOSTSCSI_LUN_INTERFACE);

                free(gone->wwn);
        }

        registry->n_removed = 0;
}

static void publish_lun(Publisher *p, Lun *l) {
        LunPublished *told = &l->published;
        _cleanup_free_ char *path = NULL;
        Names names = {};
        LunView v;
        int r, k;

        lun_view_make(p->engine, l, &v);

        if ((told->state == LUN_FAILED) != (v.state == LUN_FAILED))
                p->engine->registry.publish_self = true;
        if (told->state != v.state)
                names_add(&names, "State");
        if (told->health != v.health)
                names_add(&names, "Health");
        if (told->size != v.size)
                names_add(&names, "Size");
        if (told->block_size != v.block_size)
                names_add(&names, "BlockSize");
        told->state = v.state;
        told->health = v.health;
        told->size = v.size;
        told->block_size = v.block_size;
        names_add_copied(&names, free_and_strdup(&told->device, v.device), "Device");
        names_add_copied(&names, free_and_strdup(&told->place, v.place), "Backstore");
        r = free_and_strdup(&told->error_code, v.error_code);
        k = free_and_strdup(&told->error_text, v.error_text);
        names_add_copied(&names, r != 0 ? r : k, "LastError");

        if (told->exists && names.n == 0)
                return;

        r = object_path_lun(l->target->wwn, l->number, &path);
        if (r < 0) {
                log_warning_errno(r, "Cannot tell of a LUN");
                return;
        }

        if (told->exists)
                emit_changed(p->bus, path, VHOSTSCSI_LUN_INTERFACE, &names);
        else
                emit_added(p->bus, path);
        told->exists = true;
}

/* Those that were marked, and all of them only if somebody said so: a target may have thousands, of which one went degraded. */
static void publish_luns(Publisher *p, Target *t) {
        Lun *l;

        for (size_t i = 0; t->publish_luns && i < t->n_luns; i++) {
                list_unlink(&t->luns[i]->publish_link);
                publish_lun(p, t->luns[i]);
        }
        t->publish_luns = false;

        LIST_FOREACH(&t->publishing, l, Lun, publish_link) {
                list_unlink(&l->publish_link);
                publish_lun(p, l);
        }
}

static void publish_target(Publisher *p, Target *t) {
        TargetPublished *told = &t->published;
        _cleanup_free_ char *path = NULL;
        uint64_t owner = owners_serial(p->engine, t->wwn);
        TargetState state = target_state(t);
        Names names = {};
        int r, k;

        if ((told->state == TARGET_FAILED) != (state == TARGET_FAILED))
                p->engine->registry.publish_self = true;
        if (told->state != state)
                names_add(&names, "State");
        if (told->foreign != t->foreign)
                names_add(&names, "ManagedBy");
        if (told->portal_group != t->portal_group)
                names_add(&names, "PortalGroup");
        if (told->luns != t->membership)
                names_add(&names, "Luns");
        /* With vhost_scsi nobody can know of it in time, and nobody is told. */
        if (told->endpoint != t->endpoint && fabric_is_bundled(&p->engine->fabric))
                names_add(&names, "Endpoint");
        if (told->owner != owner) {
                names_add(&names, "Owners");
                names_add(&names, "OwnerDetails");
        }
        told->owner = owner;
        told->foreign = t->foreign;
        told->state = state;
        told->endpoint = t->endpoint;
        told->portal_group = t->portal_group;
        told->luns = t->membership;
        names_add_copied(&names, free_and_strdup(&told->label, t->label), "Label");
        names_add_copied(&names, free_and_strdup(&told->nexus, t->foreign ? t->seen_nexus : t->nexus), "Nexus");
        r = free_and_strdup(&told->error_code, t->error_code);
        k = free_and_strdup(&told->error_text, t->error_text);
        names_add_copied(&names, r != 0 ? r : k, "LastError");

        if (!told->exists || names.n > 0) {
                r = object_path_target(t->wwn, &path);
                if (r < 0) {
                        log_warning_errno(r, "Cannot tell of target %s", t->wwn);
                        return;
                }

                /* A target comes before its LUNs, and says that it has new ones after they came. */
                if (!told->exists)
                        emit_added(p->bus, path);
        }

        publish_luns(p, t);
        if (told->exists && path)
                emit_changed(p->bus, path, VHOSTSCSI_TARGET_INTERFACE, &names);
        told->exists = true;
}

static void publish_manager(Publisher *p) {
        Registry *registry = &p->engine->registry;
        unsigned problems = bus_manager_problems(p->engine);
        bool look = registry->publish_self || p->problems != problems;
        const char *state = look ? bus_manager_state(p->engine) : p->state;
        uint64_t generation = registry->generation;
        Names names = {};

        registry->publish_self = false;
        if (p->problems != problems)
                names_add(&names, "Problems");
        if (!streq(p->state, state))
                names_add(&names, "State");
        if (p->generation != generation)
                names_add(&names, "Generation");
        p->state = state;
        p->problems = problems;
        p->generation = generation;

        emit_changed(p->bus, VHOSTSCSI_ROOT_PATH, VHOSTSCSI_MANAGER_INTERFACE, &names);
}

static void sweep(Publisher *p) {
        Registry *registry = &p->engine->registry;

        /* First what went: a LUN of the same number may have come in the same turn. */
        publish_removed(p);

        while (!list_is_empty(&registry->publishing)) {
                Target *t = list_entry(registry->publishing.next, Target, publish_link);

                list_unlink(&t->publish_link);
                publish_target(p, t);
        }

        publish_manager(p);
        request_flush(p->engine);
}

static int on_post(sd_event_source *source, void *userdata) {
        sweep(userdata);
        return 0;
}

int publish_start(sd_bus *bus, Engine *e) {
        Publisher *p = &publisher;
        int r;

        *p = (Publisher) { .engine = e, .generation = e->registry.generation, .state = bus_manager_state(e),
                           .problems = bus_manager_problems(e) };

        /* What is there by now is what whoever sees our name come reads. */
        sweep(p);
        p->bus = bus;

        r = sd_event_add_post(e->event, &p->post, on_post, p);
        if (r < 0)
                return r;

        return sd_event_source_set_priority(p->post, PRIORITY);
}

void publish_stop(Engine *e) {
        publisher.post = sd_event_source_disable_unref(publisher.post);
}
