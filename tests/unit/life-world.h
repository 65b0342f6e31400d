/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/engine.h"

/* The host of test-life: its block devices as they are (truth), as the daemon was last told (view), and what changes them at random. It
 * stands for kernel/uevents.c and kernel/mounts.c as well. Of a device both know the same plain value. */

#define WORLD_MAJOR 250U
#define WORLD_MINORS 48U
#define WORLD_TARGETS 6U        /* the last one is somebody else's; the one before is only named by a seed */
#define WORLD_FOREIGN (WORLD_TARGETS - 1)
#define WORLD_SEEDED (WORLD_TARGETS - 2)
#define WORLD_TEXT 64U

/* splitmix64: the same numbers everywhere, and a generator for each event, so that one can be left out without changing the others. */
typedef struct Random {
        uint64_t state;
} Random;

void random_seed(Random *r, uint64_t seed, uint64_t event);
unsigned random_below(Random *r, unsigned n);
bool random_percent(Random *r, unsigned percent);

typedef enum Kind {
        KIND_DISK,
        KIND_MULTIPATH,
        KIND_PATH,              /* of the multipath map Entity.of */
        KIND_MAP,
        KIND_NAMELESS,          /* has nothing but its node's path */
        KIND_PARENT,            /* of partitions */
        KIND_PARTITION,         /* of the disk Entity.of */
} Kind;

typedef struct Entity {
        Kind kind;
        unsigned of;
        unsigned number;        /* among those of its kind, or of its disk */
} Entity;

extern const Entity entities[];
extern const unsigned n_entities;

typedef struct Wish {
        const char *target;     /* as the rule says it */
        const char *number;
        const char *readonly;
        int index;              /* of the target; -1: makes no sense */
} Wish;

extern const Wish wishes[];     /* the first is none */
extern const unsigned n_wishes;

/* What udev tells of a device. */
typedef struct Disk {
        bool there;
        unsigned entity;
        unsigned parent;        /* minor of a partition's disk */
        uint64_t diskseq;
        uint64_t size;
        bool initialized, ready, suspended, read_only, ignored, path_member;
        int valid, total;       /* paths */
        unsigned alias;         /* makes the dm name */
        unsigned wish;
} Disk;

typedef struct World {
        Disk truth[WORLD_MINORS], view[WORLD_MINORS];
        bool unread[WORLD_MINORS];      /* set aside at a start */
        bool held[WORLD_MINORS];        /* somebody else has it open exclusively */
        bool mounted[WORLD_MINORS];     /* and that is a mount */
        bool stuck[WORLD_MINORS];       /* suspended, with I/O of a guest in it */
        unsigned rule[32];              /* entity -> wish */
        unsigned last_minor[32];
        uint64_t last_diskseq;
        Disk late[8];                   /* news on the way, as they were when they were sent */
        unsigned late_minor[8], n_late;
        void (*told)(unsigned minor);   /* the daemon has been told: view is new */
        GString *trace;                 /* what happens, for people */
} World;

extern World world;
extern char world_wwns[WORLD_TARGETS][WWN_SIZE];

void world_init(void (*told)(unsigned minor), GString *trace);
void world_say(const char *format, ...) _printf_(1, 2);         /* a line in the trace */
struct Uevents *world_uevents(Engine *e);

typedef struct Keys {
        unsigned n;
        char text[8][WORLD_TEXT];       /* the first is the identity */
} Keys;

void disk_keys(const Disk *d, unsigned minor, Keys *ret);
bool disk_has_key(const Disk *d, unsigned minor, const char *key);
bool disk_equal(const Disk *a, const Disk *b);
const char *entity_name(unsigned entity);

/* One random change of the host. Returns a bit for each minor of which udev has news. */
uint64_t world_change(Random *r);
void world_unstick(unsigned minor);

void world_tell(Engine *e, unsigned minor);                     /* how it is */
void world_tell_as(Engine *e, unsigned minor, const Disk *d);   /* how it may have been */
void world_forget(void);                                        /* the daemon knows nothing any more */
bool world_is_known(unsigned minor);                            /* the daemon knows it as it is */
