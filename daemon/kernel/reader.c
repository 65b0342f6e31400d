/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <sys/sysmacros.h>

#include "base/errno.h"
#include "base/log.h"
#include "base/strv.h"
#include "kernel/glance.h"
#include "kernel/reader.h"

int reader_read_device(Reader *x, dev_t devnum, Device **ret) {
        _cleanup_(roll_done) Roll roll = { .root_fd = x->root_fd };
        const Heard *heard = hearsay_get(&x->hearsay, devnum);
        int r;

        r = roll_add(&roll, devnum, heard);
        if (r < 0)
                return r;

        /* Whoever asks is not after an event. */
        roll.entries[0].event_diskseq = 0;
        return roll_read(x->root_fd, x->udev, roll.entries, ret);
}

/* gone: what is not there is told as removed. One that cannot be read must not hide the others. */
static void tell(Reader *x, Roll *roll, bool gone) {
        for (size_t i = 0; i < roll->n; i++) {
                RollEntry *e = roll->entries + i;
                int r = 0;

                if (e->device)
                        r = x->on_device(e->devnum, TAKE_PTR(e->device), x->userdata);
                else if (e->error != -ENODEV)
                        log_warning_errno(e->error, "Cannot read block device %u:%u", major(e->devnum), minor(e->devnum));
                else if (gone)
                        r = x->on_device(e->devnum, NULL, x->userdata);
                if (r < 0)
                        x->lost = true;
        }
}

static void unlist(Reader *x, Heard *heard) {
        if (heard->list == HEARD_UNREAD)
                x->n_unread--;
        heard->list = HEARD_NOWHERE;
        list_unlink(&heard->link);
}

static void enlist(Reader *x, Heard *heard, HeardList where) {
        unlist(x, heard);
        heard->list = where;

        switch (where) {
        case HEARD_UNREAD:
                list_append(&x->unread, &heard->link);
                x->n_unread++;
                break;
        case HEARD_SUSPECT:
                list_append(&x->suspects, &heard->link);
                break;
        case HEARD_URGENT:
                list_append(&x->urgent, &heard->link);
                break;
        case HEARD_NOWHERE:
                break;
        }
}

static void unlist_all(Reader *x) {
        List *const lists[] = { &x->urgent, &x->suspects, &x->unread };
        Heard *heard;

        for (size_t i = 0; i < ELEMENTSOF(lists); i++)
                LIST_FOREACH(lists[i], heard, Heard, link)
                        unlist(x, heard);
}

int reader_read_all(Reader *x) {
        _cleanup_(roll_done) Roll roll = { .root_fd = x->root_fd };
        int r;

        r = roll_add_all(&roll);
        if (r < 0)
                return r;

        for (size_t i = 0; i < roll.n; i++) {
                const Heard *heard = hearsay_get(&x->hearsay, roll.entries[i].devnum);

                if (heard)
                        roll.entries[i].valid_paths = heard->valid_paths;
        }

        r = roll_call(&roll);
        if (r < 0)
                return r;

        /* What was noted was there or not, and has been read or not, as everything else. */
        unlist_all(x);
        tell(x, &roll, false);
        return 0;
}

/* Takes it out of its list, to be read. */
static int take(Reader *x, Heard *heard, Roll *roll) {
        unlist(x, heard);
        return roll_add(roll, heard->devnum, heard);
}

static void read_taken(Reader *x, Roll *roll) {
        if (roll_call(roll) < 0) {
                x->lost = true;
                return;
        }

        for (size_t i = 0; i < roll->n; i++) {
                Heard *heard = hearsay_get(&x->hearsay, roll->entries[i].devnum);

                if (heard && (roll->entries[i].error == -ENODEV || hearsay_is_empty(heard)))
                        hearsay_forget(&x->hearsay, heard);
        }

        tell(x, roll, true);
}

/* The first of the list. */
void reader_read_some(Reader *x, List *list, size_t max) {
        _cleanup_(roll_done) Roll roll = { .root_fd = x->root_fd };
        Heard *heard;

        LIST_FOREACH(list, heard, Heard, link) {
                if (max-- == 0)
                        break;
                if (take(x, heard, &roll) < 0)
                        x->lost = true;
        }

        if (roll.n > 0)
                read_taken(x, &roll);
}

void reader_read_list(Reader *x, List *list) {
        reader_read_some(x, list, SIZE_MAX);
}

/* ---- what is urgent ---- */

/* When in doubt, it is: then it is read, as it would be without all this. names: NULL if only reading the device tells. */
static bool names_are_urgent(const Reader *x, dev_t devnum, char *const *names) {
        return !x->is_wanted || !names || x->is_wanted(devnum, names, x->userdata);
}

static bool is_urgent(const Reader *x, UdevDevice *device, dev_t devnum) {
        _cleanup_(strv_freep) char **names = NULL;

        (void) glance_udev(device, &names);
        return names_are_urgent(x, devnum, names);
}

/* ---- suspects ---- */

int reader_suspect(Reader *x, dev_t devnum, bool wanted) {
        Heard *heard = NULL;
        int r;

        r = hearsay_ensure(&x->hearsay, devnum, &heard);
        if (r < 0)
                return r;

        if (heard->list != HEARD_URGENT)
                enlist(x, heard, wanted ? HEARD_URGENT : HEARD_SUSPECT);
        return 0;
}

int reader_suspect_all(Reader *x) {
        _cleanup_(roll_done) Roll roll = { .root_fd = x->root_fd };
        int r;

        unlist_all(x);
        hearsay_forget_all(&x->hearsay);

        r = roll_add_all(&roll);
        for (size_t i = 0; r >= 0 && i < roll.n; i++)
                r = reader_suspect(x, roll.entries[i].devnum, false);

        return r;
}

void reader_look_at_suspects(Reader *x, unsigned max) {
        for (unsigned i = 0; i < max && !list_is_empty(&x->suspects); i++) {
                Heard *heard = list_entry(x->suspects.next, Heard, link);
                _cleanup_(udev_device_unrefp) UdevDevice *device = udev_device_new_from_devnum(x->udev, 'b', heard->devnum);

                enlist(x, heard, !device || is_urgent(x, device, heard->devnum) ? HEARD_URGENT : HEARD_UNREAD);
        }

        reader_read_list(x, &x->urgent);
}

int reader_note(Reader *x, UdevDevice *device, dev_t devnum, const HearsayEvent *event) {
        Heard *heard = NULL;
        int r;

        r = hearsay_ensure(&x->hearsay, devnum, &heard);
        if (r < 0)
                return r;

        hearsay_note(heard, event);

        /* Once urgent, always urgent, until it is read. A suspect has been heard of. */
        if (heard->list != HEARD_URGENT)
                enlist(x, heard, is_urgent(x, device, devnum) ? HEARD_URGENT : HEARD_UNREAD);
        return 0;
}

/* ---- a start ---- */

/* Begun as early as may be: what else a start needs is done meanwhile. */
void reader_begin(Reader *x) {
        x->start = (Roll) { .root_fd = x->root_fd, .data_fd = glance_open() };
        if (x->start.data_fd >= 0)
                roll_glance_begin(&x->start);
}

static int end_glance(Reader *x) {
        /* Without a database of udev's where we look, all are read. */
        int r = x->start.data_fd >= 0 ? roll_glance(&x->start) : roll_add_all(&x->start);

        x->start.data_fd = safe_close(x->start.data_fd);
        return r;
}

/* What nobody wants is not read for now. */
static int set_aside(Reader *x, Roll *roll) {
        size_t n = 0;

        for (size_t i = 0; i < roll->n; i++) {
                RollEntry *e = roll->entries + i;
                bool gone = e->error == -ENODEV, wanted = !gone && names_are_urgent(x, e->devnum, e->names);
                Heard *heard = NULL;
                int r;

                e->names = strv_free(e->names);
                e->error = 0;
                if (wanted)
                        roll->entries[n++] = *e;
                else if (!gone) {
                        r = hearsay_ensure(&x->hearsay, e->devnum, &heard);
                        if (r < 0)
                                return r;
                        enlist(x, heard, HEARD_UNREAD);
                }
        }

        roll->n = n;
        return 0;
}

int reader_read_wanted(Reader *x) {
        _cleanup_(roll_done) Roll roll = { .root_fd = x->root_fd };
        int r;

        r = end_glance(x);
        if (r >= 0)
                r = set_aside(x, &x->start);
        if (r < 0)
                return r;

        SWAP(roll.entries, x->start.entries);
        SWAP(roll.n, x->start.n);
        SWAP(roll.room, x->start.room);
        r = roll_call(&roll);
        if (r < 0)
                return r;

        tell(x, &roll, false);
        return 0;
}

void reader_read_unread(Reader *x, dev_t devnum) {
        _cleanup_(roll_done) Roll roll = { .root_fd = x->root_fd };
        Heard *heard = hearsay_get(&x->hearsay, devnum);

        if (!heard || heard->list != HEARD_UNREAD)
                return;

        if (take(x, heard, &roll) < 0)
                x->lost = true;
        else
                read_taken(x, &roll);
}

/* ---- */

int reader_init(Reader *x, uevents_device_t on_device, void *userdata) {
        int r;

        *x = (Reader) { .root_fd = -EBADF, .start.data_fd = -EBADF, .on_device = on_device, .userdata = userdata };
        list_init(&x->urgent);
        list_init(&x->unread);
        list_init(&x->suspects);
        r = hearsay_init(&x->hearsay);
        if (r < 0)
                return r;

        x->root_fd = open("/sys/dev/block", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (x->root_fd < 0)
                return negative_errno();

        x->udev = udev_new();
        return x->udev ? 0 : negative_errno();
}

void reader_done(Reader *x) {
        roll_done(&x->start);
        safe_close(x->start.data_fd);
        hearsay_done(&x->hearsay);
        safe_close(x->root_fd);
        udev_unref(x->udev);
}
