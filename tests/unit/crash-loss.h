/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A daemon that obeys random orders, and what a loss of power at any of its calls leaves of them: each such state directory (crash-power.h) is
 * read by the store, and all that was acknowledged before is in it. state_dir and scratch are empty. Returns how many states there were. */
unsigned loss_run(const char *state_dir, const char *scratch, unsigned n_orders, unsigned *ret_lost, unsigned *ret_wrong);
