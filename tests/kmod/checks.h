/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include "device.h"

#define DEADLINE 20000

/* The device that is checked, and what came of it. */
extern struct device dev;
extern unsigned failures;
extern const char *current;
extern bool current_failed;

#define check(condition) check_that(condition, #condition, __LINE__)

bool check_that(bool condition, const char *what, int line);
void check_inquiry(void);
void check_ready(void);
/* batch-checks.c */
void check_depth(void);
void check_large_depth(void);
/* The same, and with each batch in flight something changes that a guest may change. */
void check_depth_while(unsigned round);
/* setup-checks.c */
void check_ioctls(void);
void check_workers(void);
void check_endpoint(const char *node);
void check_attach_again(void);
void attach(const char *node, const char *wwpn);
void take_attention(void);
int checks(const char *node, const char *wwpn, uint32_t blocks, char *const *without);
