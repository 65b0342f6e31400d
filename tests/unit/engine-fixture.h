/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/engine.h"
#include "fake-cfs.h"

/* A whole engine without a bus: the fake configfs, a store in a temporary directory, devices by hand, passes in real children. */

typedef struct Fixture {
        Engine engine;
        char *state_dir;
} Fixture;

void fixture_init(Fixture *f);                          /* a new, empty host */
/* Nothing but the daemon's start, over state_dir and the fake kernel as they are. On an error nothing can be done with it. */
int fixture_start(Fixture *f);
void fixture_done(Fixture *f);
/* Ends the daemon as kill -9 does (children as well) and starts it again over the same state and the same fake kernel. */
void fixture_restart(Fixture *f);
void fixture_restart_bare(Fixture *f);                  /* the same, but nobody has told it of any device yet */

/* /dev/fake<n>, number 250:<n>, instance diskseq, on the fake kernel and in the inventory. */
void fixture_add_device(Fixture *f, unsigned n, uint64_t diskseq);
void fixture_add_wished_device(Fixture *f, unsigned n, uint64_t diskseq, const char *wwn);     /* that a udev rule wishes in this target */
void fixture_remove_device(Fixture *f, unsigned n);

/* Runs the loop until nothing is left to do but what hangs; fails the test after 30 s. */
void fixture_run(Fixture *f);
/* Runs the loop until the condition holds; false after 30 s. */
bool fixture_run_until(Fixture *f, bool (*condition)(Fixture *f));

/* What failed and would be tried again later is due now: the next turns of the loop do so. */
void fixture_pass_time(Fixture *f);

/* The store's files, one after the other. */
char *fixture_store_snapshot(Fixture *f);

/* Edits that must be accepted. */
Target *fixture_create(Fixture *f, const char *wwn);
Lun *fixture_add_lun(Fixture *f, Target *t, const char *source);
