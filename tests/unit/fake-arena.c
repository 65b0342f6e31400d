/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include "fake-arena.h"

#define ARENA_SIZE ((size_t) 256 << 20)
#define CLASSES 32

typedef struct Chunk {
        unsigned class;
        union {
                struct Chunk *next;     /* while it is free */
                max_align_t align;
        };
} Chunk;

typedef struct Arena {
        size_t used;
        Chunk *free[CLASSES];
} Arena;

static Arena *arena;

void fake_arena_reset(void) {
        if (!arena) {
                arena = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
                if (arena == MAP_FAILED)
                        abort();
        }

        *arena = (Arena) { .used = (sizeof(Arena) + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t) };
}

void *fake_alloc(size_t size) {
        unsigned class = 5;
        Chunk *c;

        while (((size_t) 1 << class) < size + sizeof(Chunk))
                class++;

        c = arena->free[class];
        if (c)
                arena->free[class] = c->next;
        else {
                if (ARENA_SIZE - arena->used < (size_t) 1 << class)
                        abort();
                c = (Chunk *) ((char *) arena + arena->used);
                arena->used += (size_t) 1 << class;
        }

        c->class = class;
        return memset(c + 1, 0, ((size_t) 1 << class) - sizeof(Chunk));
}

char *fake_strdup(const char *s) {
        size_t n = strlen(s) + 1;

        return memcpy(fake_alloc(n), s, n);
}

void fake_free(void *p) {
        Chunk *c;

        if (!p)
                return;

        c = (Chunk *) p - 1;
        c->next = arena->free[c->class];
        arena->free[c->class] = c;
}

void fake_set_text(char **p, const char *s) {
        char *old = *p;

        *p = s ? fake_strdup(s) : NULL;
        fake_free(old);
}
