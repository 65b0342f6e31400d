/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "model/document.h"

/* Our own format for targets, man vhscsid-document(5):
 * {"format":"vhscsid","version":1,"targets":[{"wwn":"naa.…","label":"","nexus":"naa.…","luns":[{"number":0,"source":"dm-uuid=…","name":"d-…",
 *  "serial":"…","readonly":false,"shareable":false,"attributes":{"queue_depth":"64"},"size":0,"identity":"…","mount":"…"}]}]}
 * For people to write, and for other hosts to read: unlike the store's files it has no word of this host's kernel (no HBA), and a key that we
 * do not know is a mistake. */

#define DOCUMENT_JSON_VERSION 1
#define DOCUMENT_JSON_MAX (64U * 1024 * 1024)   /* bytes */
#define DOCUMENT_JSON_DEPTH 16
#define DOCUMENT_JSON_CONTAINERS (256U * 1024)
#define DOCUMENT_JSON_VALUES (1024U * 1024)

/* The text is input: any bytes. On success *ret is a finished document without notes. On -EINVAL (the form, or a contradiction),
 * -EPROTONOSUPPORT (a newer version) and -EFBIG (a limit), *ret_why gets an allocated sentence of one line. */
int document_json_parse(const char *text, size_t size, Document *ret, char **ret_why);

/* Of a finished document. In a fixed order, a value a line: two of them can be compared by diff. What is not said is left out; notes and
 * places are no part of the format. -EFBIG: it could not be read again. */
int document_json_format(const Document *d, char **ret, size_t *ret_size);
