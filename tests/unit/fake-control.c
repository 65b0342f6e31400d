/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <fnmatch.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>

#include "base/strv.h"
#include "fake-arena.h"
#include "fake-control.h"

Control *control;

/* A mutex that survives a process killed with it in hand, and no condition variable: one that is shared with a process killed inside of it
 * may never wake anyone again. Who waits looks again every half a millisecond. */
static pthread_mutex_t *mutex;

void fake_lock(void) {
        int r = pthread_mutex_lock(mutex);

        if (r == EOWNERDEAD)
                r = pthread_mutex_consistent(mutex);
        if (r != 0)
                abort();
}

void fake_unlock(void) {
        if (pthread_mutex_unlock(mutex) != 0)
                abort();
}

void fake_pause(void) {
        fake_unlock();
        nanosleep(&(struct timespec) { .tv_nsec = 500000 }, NULL);
        fake_lock();
}

static void mutex_init(void) {
        pthread_mutexattr_t attributes;

        mutex = mmap(NULL, sizeof *mutex, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (mutex == MAP_FAILED)
                abort();

        pthread_mutexattr_init(&attributes);
        pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
        pthread_mutex_init(mutex, &attributes);
        pthread_mutexattr_destroy(&attributes);
}

static bool is_waiting(void) {
        bool waiting;

        fake_lock();
        waiting = control->waiting;
        fake_unlock();
        return waiting;
}

void fake_reset(void) {
        if (mutex) {
                /* Again and again: who was killed just now is not dead yet. */
                for (fake_release(); is_waiting(); fake_release())
                        nanosleep(&(struct timespec) { .tv_nsec = 500000 }, NULL);
        } else
                mutex_init();

        fake_arena_reset();
        control = fake_alloc(sizeof *control);
        control->journal_end = &control->journal;
        control->deadline = -1;
        lio_init();
}

void fake_set_fabric_loaded(bool loaded) {
        fake_lock();
        lio->fabric_loaded = loaded;
        fake_unlock();
}

void fake_set_bundled(void) {
        fake_lock();
        lio_set_bundled(true);
        fake_unlock();
}

/* --- block devices --- */

static void block_remove(dev_t devnum) {
        for (Block *b = lio->blocks, *next; b; b = next) {
                next = b->next;
                if (b->devnum != devnum)
                        continue;
                b->gone = true;
                block_free_if_gone(b);
        }
}

void fake_block_add(const FakeBlock *b) {
        size_t n = strv_length((char *const *) b->links);
        Block *k;

        fake_lock();
        block_remove(b->devnum);

        k = fake_alloc(sizeof *k);
        *k = (Block) {
                .next = lio->blocks,
                .devnum = b->devnum,
                .whole = b->whole,
                .node = fake_strdup(b->node),
                .links = fake_alloc((n + 1) * sizeof *k->links),
                .diskseq = b->diskseq,
                .size = b->size,
                .block_size = b->block_size ?: 512,
                .queue_depth = b->queue_depth ?: 64,
                .max_sectors = b->max_sectors ?: 248,
                .held = b->held,
                .read_only = b->read_only,
                .suspended = b->suspended,
                .rotational = b->rotational,
                .discard = b->discard,
                .not_block = b->not_block,
        };
        for (size_t i = 0; i < n; i++)
                k->links[i] = fake_strdup(b->links[i]);
        lio->blocks = k;
        fake_unlock();
}

void fake_block_add_simple(dev_t devnum, const char *node, uint64_t diskseq) {
        fake_block_add(&(FakeBlock) { .devnum = devnum, .node = node, .diskseq = diskseq, .size = 1 << 30 });
}

void fake_block_remove(dev_t devnum) {
        fake_lock();
        block_remove(devnum);
        fake_unlock();
}

static bool process_is_dead(pid_t pid) {
        char path[64], state = 0;
        FILE *f;

        snprintf(path, sizeof path, "/proc/%d/stat", (int) pid);
        f = fopen(path, "re");
        if (!f)
                return true;
        if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
                state = 0;
        fclose(f);
        return state == 'Z' || state == 'X';
}

/* What a killed process left in the kernel gets on now. */
static void waiting_reap(void) {
        for (Waiting **p = &control->waiting; *p;) {
                Waiting *w = *p;

                if ((!w->released && (!w->block || w->block->suspended)) || !process_is_dead(w->pid)) {
                        p = &w->next;
                        continue;
                }

                {
                        _cleanup_free_ char *path = strdup(w->path), *text = w->text ? strdup(w->text) : NULL;
                        FakeCall call = w->call;

                        waiting_free(w);
                        call_finish(call, path, text);
                }
                p = &control->waiting;
        }
}

void fake_block_set_held(dev_t devnum, bool held) {
        fake_lock();
        block_find(devnum)->held = held;
        fake_unlock();
}

void fake_block_set_read_only(dev_t devnum, bool read_only) {
        fake_lock();
        block_find(devnum)->read_only = read_only;
        fake_unlock();
}

void fake_block_set_suspended(dev_t devnum, bool suspended) {
        fake_lock();
        block_find(devnum)->suspended = suspended;
        if (!suspended)
                waiting_reap();
        fake_unlock();
}

/* --- guests --- */

static int attach(const char *path, bool attached) {
        int attribute, r;
        Node *n;

        r = lio_walk(path, true, &n, &attribute);
        if (r < 0 || attribute >= 0 || n->type != &node_type_tpg)
                return -ENODEV;
        if (attached && (!n->tpg.nexus || n->tpg.ports == 0))
                return -ENODEV;
        if (attached && n->tpg.attached)
                return -EBUSY;

        n->tpg.attached = attached;
        return 0;
}

int fake_attach(const char *tpg) {
        int r;

        fake_lock();
        r = attach(tpg, true);
        fake_unlock();
        return r;
}

int fake_detach(const char *tpg) {
        int r;

        fake_lock();
        r = attach(tpg, false);
        fake_unlock();
        return r;
}

int fake_set_value(const char *path, const char *value) {
        int attribute, r;
        Node *n;

        fake_lock();
        r = lio_walk(path, true, &n, &attribute);
        if (r >= 0 && attribute < 0)
                r = -ENOENT;
        if (r >= 0)
                fake_set_text(&n->values[attribute], value);
        fake_unlock();
        return r;
}

/* --- faults --- */

unsigned call_index(FakeCall call) {
        return (unsigned) __builtin_ctz((unsigned) call);
}

const char *call_name(FakeCall call) {
        static const char *const names[] = {
                "mkdir", "rmdir", "symlink", "unlink", "write", "read", "list", "readlink", "exists", "diskseq",
        };

        return names[call_index(call)];
}

static bool matches(const char *pattern, const char *path) {
        return !pattern || fnmatch(pattern, path, 0) == 0;
}

void fake_fail(unsigned calls, const char *pattern, unsigned nth, int error, unsigned times) {
        assert(nth > 0 && error < 0 && times > 0);

        fake_lock();
        assert(control->n_faults < ELEMENTSOF(control->faults));
        control->faults[control->n_faults++] = (Fault) {
                .calls = calls,
                .nth = nth,
                .times = times,
                .error = error,
                .pattern = pattern ? fake_strdup(pattern) : NULL,
        };
        fake_unlock();
}

void fake_fail_none(void) {
        fake_lock();
        for (unsigned i = 0; i < control->n_faults; i++)
                fake_free(control->faults[i].pattern);
        control->n_faults = 0;
        fake_unlock();
}

int call_begin(FakeCall call, const char *path) {
        int error = 0;

        if (control->dead)
                return -ESHUTDOWN;

        if (call & FAKE_MUTATING && control->deadline >= 0 && control->deadline-- == 0) {
                if (control->death == FAKE_DEATH_KILL) {
                        /* With the lock held, so that no other thread dies in the middle of a change: the mutex is robust. */
                        kill(getpid(), SIGKILL);
                        pause();
                }
                control->dead = true;
                return -ESHUTDOWN;
        }

        control->counts[call_index(call)]++;

        for (unsigned i = 0; i < control->n_faults; i++) {
                Fault *f = &control->faults[i];

                if (!(f->calls & call) || f->times == 0 || !matches(f->pattern, path))
                        continue;
                if (f->nth > 1) {
                        f->nth--;
                        continue;
                }
                if (f->times != FAKE_ALWAYS)
                        f->times--;
                error = error ?: f->error;
        }

        return error;
}

bool call_hangs(FakeCall call, const char *path) {
        for (unsigned i = 0; i < control->n_hangs; i++)
                if (control->hangs[i].calls & call && matches(control->hangs[i].pattern, path))
                        return true;

        return false;
}

void fake_hang(unsigned calls, const char *pattern) {
        fake_lock();
        assert(control->n_hangs < ELEMENTSOF(control->hangs));
        control->hangs[control->n_hangs++] = (Hang) { .calls = calls, .pattern = pattern ? fake_strdup(pattern) : NULL };
        fake_unlock();
}

void fake_release(void) {
        fake_lock();
        control->n_hangs = 0;
        for (Waiting *w = control->waiting; w; w = w->next)
                w->released = true;
        waiting_reap();
        fake_unlock();
}

unsigned fake_hanging(void) {
        bool held = false;
        unsigned n = 0;

        fake_lock();
        for (Waiting *w = control->waiting; w; w = w->next) {
                held = held || (w->held && !w->released && (!w->block || w->block->suspended));
                n++;
        }
        fake_unlock();

        /* Those who wait for a lock get on with its holder. */
        return held ? n : 0;
}

bool fake_wait_hanging(unsigned n, unsigned milliseconds) {
        for (unsigned i = 0; i <= milliseconds; i++) {
                if (fake_hanging() >= n)
                        return true;
                nanosleep(&(struct timespec) { .tv_nsec = 1000000 }, NULL);
        }

        return false;
}

Waiting *waiting_new(FakeCall call, const char *path, const char *text) {
        Waiting *w = fake_alloc(sizeof *w);

        *w = (Waiting) {
                .next = control->waiting,
                .pid = getpid(),
                .call = call,
                .path = fake_strdup(path),
                .text = text ? fake_strdup(text) : NULL,
        };
        control->waiting = w;
        return w;
}

void waiting_free(Waiting *w) {
        Waiting **p = &control->waiting;

        while (*p != w)
                p = &(*p)->next;
        *p = w->next;

        if (w->locks)
                w->locks->locked = false;
        if (w->writes)
                w->writes->writers--;
        fake_free(w->path);
        fake_free(w->text);
        fake_free(w);
}

void fake_die_after(unsigned n, FakeDeath how) {
        fake_lock();
        control->deadline = (long) n;
        control->death = how;
        fake_unlock();
}

void fake_revive(void) {
        fake_lock();
        control->deadline = -1;
        control->dead = false;
        fake_unlock();
}

bool fake_is_dead(void) {
        bool dead;

        fake_lock();
        dead = control->dead;
        fake_unlock();
        return dead;
}

void fake_freeze(void) {
        fake_lock();
}

void fake_thaw(void) {
        fake_unlock();
}
