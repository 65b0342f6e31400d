/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "base/errno.h"
#include "base/log.h"
#include "engine/owners.h"
#include "kernel/process.h"
#include "store/owner-file.h"

#define ADVICE "; stop it first, or use force"

/* An owner, and the watch for the end of its process. */
typedef struct Holding {
        Owners *all;
        Owner *owner;
        sd_event_source *end;   /* has the pidfd; NULL: no process was named */
        uint64_t serial;
} Holding;

struct Owners {
        Engine *engine;
        int dir_fd;
        Map *holdings;          /* WWN -> Holding */
        uint64_t serial;
};

static Holding *holding_free(Holding *h) {
        if (!h)
                return NULL;

        sd_event_source_disable_unref(h->end);
        owner_free(h->owner);
        free(h);
        return NULL;
}

DEFINE_CLEANUP(Holding *, holding_free);

static Holding *holding_of(const Engine *e, const char *wwn) {
        return e->owners ? map_get(e->owners->holdings, wwn) : NULL;
}

const Owner *owners_get(const Engine *e, const char *wwn) {
        const Holding *h = holding_of(e, wwn);

        return h ? h->owner : NULL;
}

uint64_t owners_serial(const Engine *e, const char *wwn) {
        const Holding *h = holding_of(e, wwn);

        return h ? h->serial : 0;
}

int owners_refuse(const Owner *o, Refusal *refusal) {
        _cleanup_free_ char *who = NULL;
        int r;

        r = owner_describe(o, &who);
        return r < 0 ? r : refuse(refusal, REFUSAL_IN_USE, "%s has target %s" ADVICE, who, o->wwn);
}

int owners_find_user(const Engine *e, const Target *t, const Lun *l, char **ret) {
        const Owner *o = owners_get(e, t->wwn);
        _cleanup_free_ char *who = NULL;
        int r;

        *ret = NULL;
        /* A LUN that no guest can see hurts none. */
        if (l && !l->linked)
                return 0;

        if (o) {
                r = owner_describe(o, &who);
                if (r < 0)
                        return r;
                r = asprintf(ret, "%s has target %s", who, o->wwn);
        } else if (!target_is_used(t))
                return 0;
        else {
                r = target_describe_use(t, &who);
                if (r < 0)
                        return r;
                r = l ? asprintf(ret, "%s and may use LUN %" PRIu32, who, l->number) : asprintf(ret, "%s", who);
        }

        if (r < 0)
                *ret = NULL;
        return r < 0 ? -ENOMEM : 0;
}

int owners_check_same(const Owner *o, const char *key, uint32_t uid, Refusal *refusal) {
        _cleanup_free_ char *who = NULL;
        int r;

        if (owner_is(o, key, uid))
                return 0;
        if (!streq(o->key, key))
                return owners_refuse(o, refusal);

        r = owner_describe(o, &who);
        return r < 0 ? r : refuse(refusal, REFUSAL_IN_USE, "%s has target %s by the word of user %" PRIu32 ", who may give it back; or use force",
                                  who, o->wwn, o->uid);
}

int owners_check_idle(const Engine *e, const Target *t, const Lun *l, bool force, Refusal *refusal) {
        _cleanup_free_ char *user = NULL;
        int r;

        if (force)
                return 0;

        r = owners_find_user(e, t, l, &user);
        return r < 0 || !user ? r : refuse(refusal, REFUSAL_IN_USE, "%s" ADVICE, user);
}

static void tell(Engine *e, const char *wwn) {
        Target *t = registry_target(&e->registry, wwn);

        if (t)
                registry_mark_publish_target(&e->registry, t);
}

static int save(const Owners *all) {
        _cleanup_free_ Owner **owners = NULL;
        size_t n = 0;
        Holding *h;

        owners = calloc(map_size(all->holdings) + 1, sizeof *owners);
        if (!owners)
                return -ENOMEM;

        MAP_FOREACH(all->holdings, h)
                owners[n++] = h->owner;

        return owner_file_save(all->dir_fd, owners, n);
}

/* Takes it out, in the file first; if it has ended, also of a file that cannot be written: whoever reads that sees that it has ended. */
static int drop(Holding *h, bool ended) {
        Owners *all = h->all;
        int r;

        map_remove(all->holdings, h->owner->wwn);
        r = save(all);
        if (r < 0 && !ended && map_put(all->holdings, h->owner->wwn, h) >= 0)
                return r;

        tell(all->engine, h->owner->wwn);
        holding_free(h);
        return r;
}

static int on_end(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        _cleanup_free_ char *who = NULL;
        Holding *h = userdata;
        int r;

        if (owner_describe(h->owner, &who) >= 0)
                log_info("Target %s is free: %s has ended", h->owner->wwn, who);

        h->end = sd_event_source_disable_unref(h->end);
        r = drop(h, true);
        if (r < 0)
                log_warning_errno(r, "Cannot store that an owner has ended");

        return 0;
}

/* Takes the pidfd over. */
static int watch(Engine *e, int pidfd, Holding *h, sd_event_source **ret) {
        _cleanup_close_ int fd = pidfd;
        sd_event_source *s;
        int r;

        r = sd_event_add_io(e->event, &s, fd, EPOLLIN, on_end, h);
        if (r < 0)
                return r;
        r = sd_event_source_set_io_fd_own(s, true);
        if (r < 0) {
                sd_event_source_disable_unref(s);
                return r;
        }

        TAKE_FD(fd);
        *ret = s;
        return 0;
}

/* Takes the owner over, if it is there still. 1: it is. */
static int load_owner(Owners *all, Owner *taken) {
        _cleanup_(owner_freep) Owner *o = taken;
        _cleanup_(holding_freep) Holding *h = NULL;
        uint64_t started;
        int pidfd, r;

        h = calloc(1, sizeof *h);
        if (!h)
                return -ENOMEM;

        if (o->pid > 0) {
                r = process_open(o->pid, &pidfd, &started);
                if (r >= 0 && o->started > 0 && started > 0 && started != o->started) {
                        safe_close(pidfd);
                        r = -ESRCH;
                }
                if (r == -ESRCH) {
                        log_info("Target %s is free: the process %" PRIu32 " that had it has ended", o->wwn, o->pid);
                        return 0;
                }
                if (r >= 0)
                        r = watch(all->engine, pidfd, h, &h->end);
                if (r < 0)
                        log_warning_errno(r, "Cannot watch process %" PRIu32 ", target %s is its own until it is released", o->pid, o->wwn);
        }

        h->all = all;
        h->serial = ++all->serial;
        h->owner = TAKE_PTR(o);
        r = map_put(all->holdings, h->owner->wwn, h);
        if (r == -EEXIST)
                return 0;
        if (r < 0)
                return r;

        TAKE_PTR(h);
        return 1;
}

static int load(Owners *all) {
        _cleanup_free_ Owner **owners = NULL;
        size_t n;
        int r;

        r = owner_file_load(all->dir_fd, &owners, &n);
        if (r < 0)
                return r;

        for (size_t i = 0; i < n; i++) {
                int k = r < 0 ? (owner_free(owners[i]), 0) : load_owner(all, owners[i]);

                r = k < 0 ? k : r;
        }
        if (r < 0)
                return r;

        return map_size(all->holdings) < n ? save(all) : 0;
}

int owners_new(Engine *e, const char *runtime_dir, Owners **ret) {
        _cleanup_(owners_freep) Owners *all = calloc(1, sizeof *all);
        int r;

        if (!all)
                return -ENOMEM;

        all->engine = e;
        all->dir_fd = -EBADF;
        all->holdings = map_new();
        if (!all->holdings)
                return -ENOMEM;

        if (mkdir(runtime_dir, 0700) < 0 && errno != EEXIST)
                return negative_errno();
        all->dir_fd = open(runtime_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (all->dir_fd < 0)
                return negative_errno();

        r = load(all);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(all);
        return 0;
}

Owners *owners_free(Owners *all) {
        Holding *h;

        if (!all)
                return NULL;

        if (all->holdings)
                MAP_FOREACH(all->holdings, h)
                        holding_free(h);
        map_free(all->holdings);
        safe_close(all->dir_fd);
        free(all);
        return NULL;
}

int owners_take(Engine *e, const Owner *o, int pidfd) {
        _cleanup_close_ int fd = pidfd;
        Holding *old = holding_of(e, o->wwn);
        _cleanup_(holding_freep) Holding *h = NULL;
        bool mine = old && streq(old->owner->key, o->key);
        int r = 0;

        h = calloc(1, sizeof *h);
        if (!h)
                return -ENOMEM;

        h->all = e->owners;
        h->owner = owner_new(o->wwn, o->key, mine && isempty(o->kind) ? old->owner->kind : o->kind,
                             mine && isempty(o->name) ? old->owner->name : o->name,
                             mine && isempty(o->uuid) ? old->owner->uuid : o->uuid);
        if (!h->owner)
                return -ENOMEM;

        h->owner->uid = o->uid;
        if (o->pid > 0) {
                h->owner->pid = o->pid;
                h->owner->started = o->started;
                r = watch(e, TAKE_FD(fd), h, &h->end);
                if (r < 0)
                        return r;
        } else if (mine) {
                h->owner->pid = old->owner->pid;
                h->owner->started = old->owner->started;
        }

        if (old)
                map_replace(e->owners->holdings, h->owner->wwn, h);
        else {
                r = map_put(e->owners->holdings, h->owner->wwn, h);
                if (r < 0)
                        return r;
        }

        r = save(e->owners);
        if (r < 0) {
                if (old)
                        map_replace(e->owners->holdings, old->owner->wwn, old);
                else
                        map_remove(e->owners->holdings, h->owner->wwn);
                return r;
        }

        /* The watch goes on for the one that goes on. */
        if (mine && !h->end && old->end) {
                h->end = TAKE_PTR(old->end);
                sd_event_source_set_userdata(h->end, h);
        }
        holding_free(old);
        h->serial = ++e->owners->serial;
        tell(e, h->owner->wwn);
        TAKE_PTR(h);
        return 0;
}

int owners_release(Engine *e, const char *wwn) {
        Holding *h = holding_of(e, wwn);

        return h ? drop(h, false) : 0;
}
