/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Text that others chose (a foreign target's name, what a device calls itself, sentences that quote these) in a form that the bus takes;
 * one string that it does not take would leave the caller of GetManagedObjects without an answer. NULL: "". */
const char *text_for_bus(const char *s);
