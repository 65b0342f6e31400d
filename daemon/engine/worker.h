/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/engine.h"
#include "engine/pass.h"

/* A forked child and the daemon's end of it: one pass over one target. */

#define WORKERS_MAX 16          /* passes at a time; a pass that hangs is not counted */

/* Starts a pass over what is dirty in the target and not in other hands. 1: started; 0: nothing to do now. */
int worker_start_pass(Engine *e, Target *t);

/* Forks a child that has nothing open but report_fd and configfs, dies with us, and calls body(). Used for passes, surveys and statistics. */
pid_t worker_fork(Engine *e, int report_fd);

/* Calls the handler when the child has ended, and reaps it. The handler drops the source. */
int worker_watch(Engine *e, pid_t pid, sd_event_child_handler_t handler, void *userdata, sd_event_source **ret);

/* A child that nobody waits for is reaped whenever it ends: one that waits in the kernel may outlive what it was made for. */
void worker_leave(Engine *e, pid_t pid);

/* The target goes: a pass over it that hung may still be about to end. */
void worker_forget_target(Engine *e, const Target *t);

/* Kills and forgets all children; the kernel's state is what the next start finds. */
void worker_stop_all(Engine *e);
