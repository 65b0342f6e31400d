/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/map.h"
#include "model/document.h"
#include "store/json.h"

/* The storage objects of a saveconfig.json: what targetcli calls a backstore. */

typedef struct StorageObject {
        Json *json;
        char *key;              /* "block/disk1", with the plugin's name of today */
        bool block;             /* or fileio */
        bool twice;             /* there is another one with this key */

        bool read;              /* the following is known */
        char *why;              /* not NULL: it cannot be imported */
        DocumentLun lun;        /* what a LUN on it is */

        size_t luns;            /* of vhost that stand on it */
} StorageObject;

typedef struct StorageObjects {
        StorageObject *objects; /* in the order of the file */
        size_t n;
        Map *by_key;
        size_t n_of_disk;       /* have attributes that the kernel takes from the disk */
} StorageObjects;

void storage_objects_done(StorageObjects *o);

/* The array of the file, which must outlive this; NULL: none. -EINVAL with a sentence: one is no object. */
int storage_objects_index(StorageObjects *o, Json *array, Document *d, char **ret_why);

/* path: "/backstores/block/disk1". NULL in *ret: there is none. */
int storage_objects_find(const StorageObjects *o, const char *path, StorageObject **ret);

/* Finds out what a LUN on it is, or why there cannot be one; at the first call also notes what of it is not kept. */
int storage_object_read(StorageObjects *o, StorageObject *s, Document *d);

/* Whose place (model/document.h) it is. */
int storage_objects_find_place(const StorageObjects *o, const char *place, StorageObject **ret);
