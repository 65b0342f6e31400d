/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/parse.h"
#include "model/attribute.h"
#include "model/plan.h"

/* drivers/target/target_core_configfs.c has the names; include/target/target_core_base.h (DA_…) the defaults;
 * target_configure_unmap_from_queue() in target_core_device.c and the configure_device() of iblock and file set what is of the disk. */
static const struct {
        const char *name;
        AttributeKind kind;
        const char *value;
} table[] = {
        { "alua_support", ATTRIBUTE_FIXED, "1" },
        { "block_size", ATTRIBUTE_SETTABLE, "512" },
        { "complete_type", ATTRIBUTE_SETTABLE, "0" },
        { "emulate_3pc", ATTRIBUTE_SETTABLE, "1" },
        { "emulate_caw", ATTRIBUTE_SETTABLE, "1" },
        { "emulate_dpo", ATTRIBUTE_IDLE, NULL },
        { "emulate_fua_read", ATTRIBUTE_IDLE, NULL },
        { "emulate_fua_write", ATTRIBUTE_SETTABLE, "1" },
        { "emulate_model_alias", ATTRIBUTE_SETTABLE, "0" },
        { "emulate_pr", ATTRIBUTE_SETTABLE, "1" },
        { "emulate_rest_reord", ATTRIBUTE_SETTABLE, "0" },
        { "emulate_rsoc", ATTRIBUTE_SETTABLE, "1" },
        { "emulate_tas", ATTRIBUTE_SETTABLE, "1" },
        { "emulate_tpu", ATTRIBUTE_SETTABLE, "0" },
        { "emulate_tpws", ATTRIBUTE_SETTABLE, "0" },
        { "emulate_ua_intlck_ctrl", ATTRIBUTE_SETTABLE, "0" },
        { "emulate_write_cache", ATTRIBUTE_FIXED, "0" },
        { "enforce_pr_isids", ATTRIBUTE_SETTABLE, "1" },
        { "force_pr_aptpl", ATTRIBUTE_SETTABLE, "0" },
        { "is_nonrot", ATTRIBUTE_OF_DISK, NULL },
        { "max_unmap_block_desc_count", ATTRIBUTE_OF_DISK, NULL },
        { "max_unmap_lba_count", ATTRIBUTE_OF_DISK, NULL },
        { "max_write_same_len", ATTRIBUTE_OF_DISK, NULL },
        { "optimal_sectors", ATTRIBUTE_OF_DISK, NULL },
        { "pgr_support", ATTRIBUTE_FIXED, "1" },
        { "pi_prot_format", ATTRIBUTE_SETTABLE, "0" },
        { "pi_prot_type", ATTRIBUTE_SETTABLE, "0" },
        { "pi_prot_verify", ATTRIBUTE_SETTABLE, "0" },
        { "queue_depth", ATTRIBUTE_OF_DISK, NULL },
        { "submit_type", ATTRIBUTE_SETTABLE, "0" },
        { "unmap_granularity", ATTRIBUTE_OF_DISK, NULL },
        { "unmap_granularity_alignment", ATTRIBUTE_OF_DISK, NULL },
        { "unmap_zeroes_data", ATTRIBUTE_OF_DISK, NULL },
};

AttributeKind attribute_kind(const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                if (streq(table[i].name, name))
                        return table[i].kind;

        return ATTRIBUTE_UNKNOWN;
}

bool attribute_is_settable(const char *name) {
        AttributeKind kind = attribute_kind(name);

        return kind == ATTRIBUTE_SETTABLE || kind == ATTRIBUTE_OF_DISK;
}

bool attribute_is_valid(const char *name, const char *value) {
        uint64_t v;

        return parse_u64(value, &v) >= 0 && attribute_is_settable(name);
}

const char *attribute_name(size_t i) {
        return i < ELEMENTSOF(table) ? table[i].name : NULL;
}

const char *attribute_default(const char *name) {
        for (const char *const *a = plan_default_attributes; *a; a++) {
                const char *value = startswith(*a, name);

                if (value && *value == '=')
                        return value + 1;
        }

        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                if (streq(table[i].name, name))
                        return table[i].value;

        return NULL;
}
