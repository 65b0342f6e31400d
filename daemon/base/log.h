/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdarg.h>
#include <syslog.h>

#include "base/cleanup.h"

/* Logs go to standard error with the journal's <N> prefix when that is the journal, plain otherwise. A function logs an error or
 * returns it, never both. The _errno forms append strerror(r) and return r, for `return log_error_errno(r, …)`. */

void log_set_max_level(int level);      /* LOG_ERR … LOG_DEBUG; the environment variable VHSCSID_LOG_LEVEL sets it at start */
void log_parse_environment(void);

int log_full_errno(int level, int r, const char *format, ...) _printf_(3, 4);

#define log_error_errno(r, ...)    log_full_errno(LOG_ERR, r, __VA_ARGS__)
#define log_warning_errno(r, ...)  log_full_errno(LOG_WARNING, r, __VA_ARGS__)
#define log_info_errno(r, ...)     log_full_errno(LOG_INFO, r, __VA_ARGS__)
#define log_debug_errno(r, ...)    log_full_errno(LOG_DEBUG, r, __VA_ARGS__)

#define log_error(...)    ((void) log_full_errno(LOG_ERR, 0, __VA_ARGS__))
#define log_warning(...)  ((void) log_full_errno(LOG_WARNING, 0, __VA_ARGS__))
#define log_notice(...)   ((void) log_full_errno(LOG_NOTICE, 0, __VA_ARGS__))
#define log_info(...)     ((void) log_full_errno(LOG_INFO, 0, __VA_ARGS__))
#define log_debug(...)    ((void) log_full_errno(LOG_DEBUG, 0, __VA_ARGS__))
#define log_oom()         log_error_errno(-ENOMEM, "Out of memory")
