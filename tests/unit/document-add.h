/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "model/document.h"

/* Last, for it and daemon/base both have a MIN. */
#include <glib.h>

/* Additions that must go well. */

static inline DocumentTarget *add_target(Document *d, const char *wwn) {
        DocumentTarget *t;

        g_assert_cmpint(document_add_target(d, wwn, &t), ==, 0);
        return t;
}

static inline DocumentLun *add_lun(DocumentTarget *t, uint32_t number, const char *source) {
        DocumentLun *l;

        g_assert_cmpint(document_target_add_lun(t, number, source, &l), ==, 0);
        return l;
}
