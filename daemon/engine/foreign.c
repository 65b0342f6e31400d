/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/errno.h"
#include "base/log.h"
#include "engine/foreign.h"
#include "engine/hotplug.h"
#include "engine/settle.h"
#include "engine/worker.h"
#include "kernel/lio-survey.h"

#define SURVEY_THREADS 4U
/* A target that does not answer for so long is left out; the child is given up. */
#define STALL_USEC UINT64_C(3000000)

typedef enum FoundKind {
        FOUND_TARGET,
        FOUND_LUN,
        FOUND_HBA,
        FOUND_WHOLE,            /* all of that target was told */
        FOUND_END,
} FoundKind;

/* One datagram from the child. */
typedef struct Found {
        FoundKind kind;
        uint32_t portal_group;
        uint32_t number;        /* of the LUN, or of the HBA */
        char wwn[256];
        char nexus[256];
        char place[300];
        char udev_path[520];
        char serial[256];
        char file[512];
        dev_t devnum;
        uint64_t size;
        bool readonly;
        bool known, crowded;
        char attributes[2048];  /* a line each */
} Found;

typedef struct Survey {
        Engine *engine;
        pid_t pid;
        int fd;
        uint64_t serial;
        bool all;               /* of some targets only otherwise */
        Map *targets;           /* found so far: Target.wwn -> Target, which the map's user owns */
        uint8_t *hbas;          /* iblock numbers that exist */
        size_t n_hbas;
        sd_event_source *io, *stall;
} Survey;

static void survey_free(Survey *s) {
        Target *t;

        if (s->engine->survey == s)
                s->engine->survey = NULL;
        if (s->targets)
                MAP_FOREACH(s->targets, t)
                        target_free(t);
        map_free(s->targets);
        sd_event_source_disable_unref(s->io);
        sd_event_source_disable_unref(s->stall);
        safe_close(s->fd);
        free(s->hbas);
        free(s);
}

DEFINE_CLEANUP(Survey *, survey_free);

/* The child's side. */

typedef struct Child {
        Engine *engine;
        int fd;
        char **names;
        size_t next;
        bool failed;            /* something could not be looked at */
        pthread_mutex_t lock;
} Child;

static void tell(int fd, const Found *f) {
        while (send(fd, f, sizeof *f, MSG_NOSIGNAL) < 0)
                if (errno != EINTR)
                        _exit(EXIT_FAILURE);
}

static void copy(char *to, size_t size, const char *from) {
        snprintf(to, size, "%s", strempty(from));
}

/* false: there are none, or not enough room. */
static bool join_lines(char *const *lines, char *to, size_t size) {
        size_t n = 0;

        for (char *const *l = lines; l && *l; l++) {
                int k = snprintf(to + n, size - n, "%s\n", *l);

                if (k < 0 || (size_t) k >= size - n) {
                        to[0] = 0;
                        return false;
                }
                n += (size_t) k;
        }

        return n > 0;
}

static void on_found(const LioFound *lio, void *userdata) {
        Found f = { .kind = lio->lun < 0 ? FOUND_TARGET : FOUND_LUN, .portal_group = lio->portal_group };
        Child *c = userdata;

        if (lio->lun >= 0)
                f.number = (uint32_t) lio->lun;
        copy(f.wwn, sizeof f.wwn, lio->wwn);
        copy(f.nexus, sizeof f.nexus, lio->nexus);
        copy(f.place, sizeof f.place, lio->place);
        copy(f.udev_path, sizeof f.udev_path, lio->udev_path);
        copy(f.serial, sizeof f.serial, lio->serial);
        copy(f.file, sizeof f.file, lio->info.file);
        f.devnum = lio->info.devnum;
        f.size = lio->info.size;
        f.readonly = lio->info.readonly;
        f.crowded = lio->crowded;
        f.known = lio->lun < 0 || join_lines(lio->attributes, f.attributes, sizeof f.attributes);
        tell(c->fd, &f);
}

static void on_found_hba(const char *plugin, uint32_t number, void *userdata) {
        Child *c = userdata;

        /* One space of numbers for both that we use. */
        if (streq(plugin, "iblock") || streq(plugin, "fileio"))
                tell(c->fd, &(Found) { .kind = FOUND_HBA, .number = number });
}

static void *survey_thread(void *userdata) {
        Child *c = userdata;

        for (;;) {
                const Target *t;
                const char *name;
                int r;

                pthread_mutex_lock(&c->lock);
                name = c->names ? c->names[c->next] : NULL;
                if (name)
                        c->next++;
                pthread_mutex_unlock(&c->lock);
                if (!name)
                        return NULL;

                /* The passes look at ours. */
                t = registry_target(&c->engine->registry, name);
                if (t && !t->foreign)
                        continue;

                r = lio_survey_target(c->engine->cfs, name, strv_contains(c->engine->survey_closely, name), on_found, c);
                if (r >= 0) {
                        Found f = { .kind = FOUND_WHOLE };

                        copy(f.wwn, sizeof f.wwn, name);
                        tell(c->fd, &f);
                } else if (r != -ENOENT) {
                        pthread_mutex_lock(&c->lock);
                        c->failed = true;
                        pthread_mutex_unlock(&c->lock);
                }
        }
}

static void run_child(Engine *e, int fd, bool all) {
        Child c = { .engine = e, .fd = fd, .lock = PTHREAD_MUTEX_INITIALIZER };
        pthread_t threads[SURVEY_THREADS];
        size_t n = 0;

        if (!all)
                c.names = e->survey_closely;
        else if (lio_survey_hbas(e->cfs, on_found_hba, &c) < 0 || lio_survey_list(e->cfs, &c.names) < 0)
                _exit(EXIT_FAILURE);

        while (n < ELEMENTSOF(threads) && pthread_create(threads + n, NULL, survey_thread, &c) == 0)
                n++;
        if (n == 0)
                survey_thread(&c);
        for (size_t i = 0; i < n; i++)
                pthread_join(threads[i], NULL);

        if (c.failed)
                _exit(EXIT_FAILURE);
        tell(fd, &(Found) { .kind = FOUND_END });
}

/* The daemon's side. */

static int take_lun(Target *t, Found *f) {
        _cleanup_(backstore_freep) Backstore *b = NULL;
        Lun *l;
        int r;

        b = backstore_new(NULL);
        if (!b)
                return -ENOMEM;

        b->place = strdup(f->place);
        b->device = strdup(f->udev_path);
        b->serial = strdup(f->serial);
        b->file = f->file[0] ? strdup(f->file) : NULL;
        if (!b->place || !b->device || !b->serial || (f->file[0] && !b->file))
                return -ENOMEM;

        b->devnum = f->devnum;
        b->size = f->size;
        b->readonly = f->readonly;
        b->known = f->known;
        b->crowded = f->crowded;
        for (char *save = NULL, *line = strtok_r(f->attributes, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                r = strv_extend(&b->attributes, line);
                if (r < 0)
                        return r;
        }

        l = lun_new(f->number, b);
        if (!l)
                return -ENOMEM;
        TAKE_PTR(b);

        l->linked = l->present = f->place[0] != 0;
        r = target_add_lun(t, l);
        if (r < 0)
                lun_free(l);

        return r;
}

static int take_found(Survey *s, Found *f) {
        Target *t;
        int r;

        if (f->kind == FOUND_HBA) {
                uint8_t *p;

                if (f->number > 1048575)
                        return 0;
                if (f->number >= s->n_hbas) {
                        size_t n = MAX((size_t) f->number + 1, s->n_hbas * 2);

                        p = realloc(s->hbas, n);
                        if (!p)
                                return -ENOMEM;
                        memset(p + s->n_hbas, 0, n - s->n_hbas);
                        s->hbas = p;
                        s->n_hbas = n;
                }
                s->hbas[f->number] = 1;
                return 0;
        }

        t = map_get(s->targets, f->wwn);
        if (!t) {
                t = target_new(f->wwn);
                if (!t)
                        return -ENOMEM;

                t->foreign = t->present = true;
                t->portal_group = f->portal_group;
                t->seen_nexus = strdup(f->nexus);
                t->up = f->nexus[0] != 0;
                r = map_put(s->targets, t->wwn, t);
                if (r < 0) {
                        target_free(t);
                        return r;
                }
        }

        if (f->kind == FOUND_WHOLE) {
                t->whole = true;
                return 0;
        }

        t->several_groups = t->several_groups || f->portal_group != t->portal_group;
        /* Ours have one portal group; of a foreign target with several, the first is told. */
        if (f->kind == FOUND_LUN && f->portal_group == t->portal_group) {
                hotplug_know(s->engine, f->devnum);
                return take_lun(t, f);
        }

        return 0;
}

static bool same(const Target *a, const Target *b) {
        if (a->n_luns != b->n_luns || a->portal_group != b->portal_group || !streq_ptr(a->seen_nexus, b->seen_nexus))
                return false;

        for (size_t i = 0; i < a->n_luns; i++) {
                const Lun *x = a->luns[i], *y = b->luns[i];

                if (x->number != y->number || !streq_ptr(x->backstore->place, y->backstore->place) ||
                    !streq_ptr(x->backstore->serial, y->backstore->serial) || x->backstore->readonly != y->backstore->readonly ||
                    !streq_ptr(x->backstore->device, y->backstore->device))
                        return false;
        }

        return true;
}

/* What nobody was told of, and a second look may see otherwise. */
static void refresh(Target *known, Target *found) {
        known->several_groups = found->several_groups;
        known->whole = true;
        for (size_t i = 0; i < known->n_luns; i++) {
                Backstore *a = known->luns[i]->backstore, *b = found->luns[i]->backstore;

                a->devnum = b->devnum;
                a->size = b->size;
                a->known = b->known;
                a->crowded = b->crowded;
                SWAP(a->file, b->file);
                SWAP(a->attributes, b->attributes);
        }
}

/* What was found takes the place of what was known. complete: what was not found is not there. */
static void apply(Survey *s, bool complete) {
        Registry *r = &s->engine->registry;
        uint32_t number;
        Target *t, *known;

        if (complete) {
                _cleanup_(strv_freep) char **gone = NULL;

                REGISTRY_FOREACH(r, t)
                        if (t->foreign && !map_get(s->targets, t->wwn) && strv_extend(&gone, t->wwn) < 0)
                                return;
                for (char **g = gone; g && *g; g++)
                        registry_remove_target(r, registry_target(r, *g));

                registry_forget_foreign_hbas(r);
        }

        for (size_t i = 0; i < s->n_hbas; i++)
                if (s->hbas[i] && !registry_hba_is_ours(r, (uint32_t) i))
                        (void) registry_note_foreign_hba(r, (uint32_t) i);

        MAP_FOREACH(s->targets, t) {
                known = registry_target(r, t->wwn);
                if (known && !known->foreign)
                        continue;
                /* Rather what it was than a part of what it is. */
                if (known && !t->whole)
                        continue;
                if (known && same(known, t)) {
                        refresh(known, t);
                        continue;
                }
                if (known)
                        registry_remove_target(r, known);

                map_remove(s->targets, t->wwn);
                if (registry_add_target(r, t, &number) < 0)
                        target_free(t);
        }
}

static void finish(Survey *s, bool complete) {
        Engine *e = s->engine;

        apply(s, complete && s->all);
        e->survey_done = s->serial;
        e->registry.publish_self = true;
        survey_free(s);
        settle_rescans(e);
}

static int on_stall(sd_event_source *source, uint64_t usec, void *userdata) {
        Survey *s = userdata;

        log_notice("Somebody's LUN waits in the kernel: foreign targets are not all known");
        (void) kill(s->pid, SIGKILL);
        finish(s, false);
        return 0;
}

static int on_datagram(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Survey *s = userdata;
        Found f;

        for (unsigned i = 0; i < 64; i++) {
                ssize_t n = recv(fd, &f, sizeof f, MSG_DONTWAIT);

                if (n < 0 && (errno == EAGAIN || errno == EINTR))
                        break;
                if (n != (ssize_t) sizeof f) {
                        finish(s, false);
                        return 0;
                }
                if (f.kind == FOUND_END) {
                        finish(s, true);
                        return 0;
                }
                if (take_found(s, &f) == -ENOMEM) {
                        log_oom();
                        finish(s, false);
                        return 0;
                }
        }

        (void) sd_event_source_set_time_relative(s->stall, STALL_USEC);
        return 0;
}

int foreign_look_closely(Engine *e, Target *t) {
        t->whole = false;
        for (size_t i = 0; i < t->n_luns; i++)
                t->luns[i]->backstore->known = false;

        return strv_contains(e->survey_closely, t->wwn) ? 0 : strv_extend(&e->survey_closely, t->wwn);
}

int foreign_start_survey(Engine *e) {
        _cleanup_(survey_freep) Survey *s = NULL;
        _cleanup_close_ int child_fd = -EBADF;
        int fds[2], r;

        s = calloc(1, sizeof *s);
        if (!s)
                return -ENOMEM;

        *s = (Survey) { .engine = e, .fd = -EBADF, .serial = ++e->survey_serial, .all = e->survey_wanted };
        s->targets = map_new();
        if (!s->targets)
                return -ENOMEM;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
                return negative_errno();
        s->fd = fds[0];
        child_fd = fds[1];

        r = sd_event_add_io(e->event, &s->io, s->fd, EPOLLIN, on_datagram, s);
        if (r < 0)
                return r;
        r = sd_event_add_time_relative(e->event, &s->stall, CLOCK_MONOTONIC, STALL_USEC, 0, on_stall, s);
        if (r < 0)
                return r;

        s->pid = worker_fork(e, child_fd);
        if (s->pid < 0)
                return s->pid;
        if (s->pid == 0) {
                run_child(e, child_fd, s->all);
                _exit(EXIT_SUCCESS);
        }

        worker_leave(e, s->pid);
        e->survey_wanted = false;
        e->survey_closely = strv_free(e->survey_closely);
        e->survey = TAKE_PTR(s);
        return 0;
}

void foreign_stop(Engine *e) {
        Survey *s = e->survey;

        if (!s)
                return;

        (void) kill(s->pid, SIGKILL);
        survey_free(s);
}
