/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

int talk(const char *node, const char *wwpn);
