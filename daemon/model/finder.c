/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/finder.h"
#include "model/source.h"

int finder_init(Finder *f) {
        *f = (Finder) {
                .names = index_new(),
                .guests = index_new(),
                .disks = index_new(),
                .open = index_new(),
        };

        return f->names && f->guests && f->disks && f->open ? 0 : -ENOMEM;
}

void finder_done(Finder *f) {
        index_free(f->names);
        index_free(f->guests);
        index_free(f->disks);
        index_free(f->open);
        *f = (Finder) {};
}

static const char *name_of(const Backstore *b) {
        const char *slash = b->place ? strrchr(b->place, '/') : NULL;

        return b->name ?: slash ? slash + 1 : NULL;
}

/* A file has no number of its own: that of its filesystem says nothing of it. */
int finder_enter_open(Finder *f, Backstore *b) {
        if (!b->source || b->devnum == 0 || backstore_is_file(b))
                return 0;

        map_number(b->devnum, b->found_by.devnum);
        return index_enter(f->open, b->found_by.devnum, &b->found_by.open);
}

void finder_leave_open(Finder *f, Backstore *b) {
        index_leave(f->open, &b->found_by.open);
}

static int enter_disk(Finder *f, Backstore *b) {
        const char *key = NULL;
        SourceKind kind;

        if (b->source)
                key = source_kind(b->source) == SOURCE_BY_PATH ? b->identity : NULL;
        else if (!isempty(b->device)) {
                if (!b->found_by.device && source_parse(b->device, &kind, &b->found_by.device, NULL) == -ENOMEM)
                        return -ENOMEM;
                key = b->found_by.device ?: b->device;
        }

        return key ? index_enter(f->disks, key, &b->found_by.disk) : 0;
}

int finder_enter(Finder *f, Backstore *b) {
        const char *name = name_of(b);
        int r = 0;

        if (name)
                r = index_enter(f->names, name, &b->found_by.name);
        if (r >= 0 && !isempty(b->serial) && !b->found_by.guest.key) {
                backstore_guest_digits(b->serial, b->found_by.digits);
                r = index_enter(f->guests, b->found_by.digits, &b->found_by.guest);
        }
        if (r >= 0)
                r = enter_disk(f, b);
        if (r >= 0)
                r = finder_enter_open(f, b);

        return r;
}

void finder_leave(Finder *f, Backstore *b) {
        index_leave(f->names, &b->found_by.name);
        index_leave(f->guests, &b->found_by.guest);
        index_leave(f->disks, &b->found_by.disk);
        finder_leave_open(f, b);
}

Backstore *finder_next_name(const Finder *f, const char *name, const Backstore *before) {
        IndexLink *l = index_next(f->names, name, before ? &before->found_by.name : NULL);

        return l ? index_entry(l, Backstore, found_by.name) : NULL;
}

Backstore *finder_next_guest(const Finder *f, const char *serial, const Backstore *before) {
        char digits[BACKSTORE_GUEST_DIGITS + 1];
        IndexLink *l;

        backstore_guest_digits(serial, digits);
        l = index_next(f->guests, digits, before ? &before->found_by.guest : NULL);
        return l ? index_entry(l, Backstore, found_by.guest) : NULL;
}

Backstore *finder_next_disk(const Finder *f, const char *source, const Backstore *before) {
        IndexLink *l = index_next(f->disks, source, before ? &before->found_by.disk : NULL);

        return l ? index_entry(l, Backstore, found_by.disk) : NULL;
}

Backstore *finder_next_open(const Finder *f, dev_t devnum, const Backstore *before) {
        char number[MAP_NUMBER_SIZE];
        IndexLink *l;

        map_number(devnum, number);
        l = index_next(f->open, number, before ? &before->found_by.open : NULL);
        return l ? index_entry(l, Backstore, found_by.open) : NULL;
}
