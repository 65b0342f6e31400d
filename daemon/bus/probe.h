/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/acquire.h"

/* Who is attached can only be asked at the moment when somebody wants to know, and the asking is a pass (it may wait in the kernel). The
 * message is held meanwhile, and handled again after it. */

/* Holds reads of Target.Endpoint until it is fresh. */
int probe_add(sd_bus *bus, Engine *e);

/* The same for a method that looks: has it a fresh Endpoint, or the best that can be had, and does it know of a QEMU whose guest does not run?
 * false: the handler returns 1 and is run again. t NULL: there is none. What is foreign is not touched. */
bool probe_before_reading(Engine *e, sd_bus_message *m, Target *t);

/* The first lines of everything that takes something away, or gives it to somebody: authorized, and if not by force, with a fresh Endpoint.
 * 1: go on. 0: the handler returns 1 and is run again. Negative: refused. actions: PolkitActions, to which force is added if asked for.
 * t NULL: there is none. */
int probe_before_removal(Engine *e, sd_bus_message *m, Target *t, unsigned actions, const EditOptions *o, sd_bus_error *error);

/* The same before an acquisition, of which what is known need not be asked. 1: the options have as much less time as the asking took. */
int probe_before_acquisition(Engine *e, sd_bus_message *m, Target *t, unsigned actions, AcquireOptions *o, sd_bus_error *error);

/* The same before a foreign target is adopted: authorized, and with a fresh and close look at it. t NULL: there is none, which only the caller
 * may be told who is allowed to ask. */
int probe_before_adoption(Engine *e, sd_bus_message *m, Target *t, const EditOptions *o, sd_bus_error *error);

/* The same before a document's changes, in two parts, since what to ask is in the document, which nobody reads for a stranger. 2: the answers
 * are there. 1: authorized; the caller marks what it wants to know and holds the message. */
int probe_before_changes(Engine *e, sd_bus_message *m, const EditOptions *o, sd_bus_error *error);
int probe_hold(Engine *e, sd_bus_message *m, uint64_t timeout);
