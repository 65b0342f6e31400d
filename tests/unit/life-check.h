/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine-fixture.h"
#include "life-oracle.h"

/* The daemon, its store and its kernel, all three looked at from outside and compared with what the oracle says. Each returns NULL, or what
 * is wrong. */

/* Somebody else's things: their places in configfs may not be touched. */
void check_foreign_add(const char *path);
void check_foreign_remove(const char *path);

/* What is linked; and in the journal of the fake, which is cleared: what was taken down, and that nothing foreign was touched. */
char *check_look(Fixture *f, Seen *ret);
void check_print(Fixture *f, FILE *to); /* what it found there, and what the daemon has: for people */

/* After oracle_settle(). */
char *check_all(Fixture *f, const Seen *seen);
