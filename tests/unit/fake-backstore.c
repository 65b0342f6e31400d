/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/sysmacros.h>

#include "fake-arena.h"
#include "fake-attr.h"
#include "fake-lio.h"

/* core/HBA/NAME: drivers/target/target_core_configfs.c, target_core_device.c, target_core_iblock.c. */

static Backstore *backstore(Node *n) {
        return &((Node *) node_up(n, &node_type_backstore))->backstore;
}

static const Backstore *backstore_const(const Node *n) {
        return &node_up(n, &node_type_backstore)->backstore;
}

static Node *attrib(Node *n) {
        return node_child(node_up(n, &node_type_backstore), "attrib");
}

static char **attrib_value(Node *n, const char *name) {
        Node *g = attrib(n);

        return &g->values[node_attribute(g, name)];
}

static uint32_t attrib_number(Node *n, const char *name) {
        return (uint32_t) strtoul(*attrib_value(n, name), NULL, 10);
}

/* --- attrib/ --- */

static int store_bool(Node *n, const Attribute *a, char **value, const char *text) {
        bool v;
        int r;

        r = kernel_strtobool(text, &v);
        if (r < 0)
                return r;

        set_number(value, v);
        return 0;
}

static int store_bool_idle(Node *n, const Attribute *a, char **value, const char *text) {
        bool v;
        int r;

        r = kernel_strtobool(text, &v);
        if (r < 0)
                return r;
        if (backstore(n)->exports > 0)
                return -EINVAL;

        set_number(value, v);
        return 0;
}

static int store_ignored(Node *n, const Attribute *a, char **value, const char *text) {
        return 0;
}

static int store_model_alias(Node *n, const Attribute *a, char **value, const char *text) {
        Node *b = (Node *) node_up(n, &node_type_backstore), *wwn = node_child(b, "wwn");
        char model[16];
        bool v;
        int r;

        if (b->backstore.exports > 0)
                return -EINVAL;
        r = kernel_strtobool(text, &v);
        if (r < 0)
                return r;

        snprintf(model, sizeof model, "%s", v ? b->name : "IBLOCK");
        fake_set_text(&wwn->values[node_attribute(wwn, "product_id")], model);
        set_number(value, v);
        return 0;
}

static int store_write_cache(Node *n, const Attribute *a, char **value, const char *text) {
        bool v;
        int r;

        r = kernel_strtobool(text, &v);
        if (r < 0)
                return r;
        /* The device says for itself whether it has one. */
        if (v)
                return -EINVAL;

        set_number(value, v);
        return 0;
}

static int store_ua_intlck(Node *n, const Attribute *a, char **value, const char *text) {
        uint32_t v;
        int r;

        r = kernel_strtou32(text, &v);
        if (r < 0)
                return r;
        if (v > 2 || backstore(n)->exports > 0)
                return -EINVAL;

        set_number(value, v);
        return 0;
}

static int store_unmap(Node *n, const Attribute *a, char **value, const char *text) {
        Backstore *b = backstore(n);
        bool v;
        int r;

        r = kernel_strtobool(text, &v);
        if (r < 0)
                return r;
        if (streq(a->name, "unmap_zeroes_data") && b->exports > 0)
                return -EINVAL;

        if (v && attrib_number(n, "max_unmap_block_desc_count") == 0) {
                /* iblock_configure_unmap() hands on a block device that is not there yet. */
                if (!b->block) {
                        fprintf(stderr, "fake: writing %s before enable is an oops in the kernel\n", a->name);
                        abort();
                }
                return -ENOSYS;
        }

        set_number(value, v);
        return 0;
}

static int store_prot_type(Node *n, const Attribute *a, char **value, const char *text) {
        uint32_t v;
        int r;

        r = kernel_strtou32(text, &v);
        if (r < 0)
                return r;

        return v > 3 ? -EINVAL : v > 0 ? -ENOSYS : 0;
}

static int store_zero(Node *n, const Attribute *a, char **value, const char *text) {
        bool v;
        int r;

        r = kernel_strtobool(text, &v);
        if (r < 0)
                return r;

        return v ? -ENOSYS : 0;
}

static int store_one(Node *n, const Attribute *a, char **value, const char *text) {
        bool v;
        int r;

        r = kernel_strtobool(text, &v);
        if (r < 0)
                return r;

        return v ? 0 : -ENOSYS;
}

static int store_prot_verify(Node *n, const Attribute *a, char **value, const char *text) {
        bool v;

        return kernel_strtobool(text, &v);
}

static int store_queue_depth(Node *n, const Attribute *a, char **value, const char *text) {
        uint32_t v;
        int r;

        r = kernel_strtou32(text, &v);
        if (r < 0)
                return r;
        if (backstore(n)->exports > 0 || v == 0)
                return -EINVAL;
        if (v > attrib_number(n, "queue_depth") && v > attrib_number(n, "hw_queue_depth"))
                return -EINVAL;

        set_number(value, v);
        backstore(n)->queue_depth = v;
        return 0;
}

static int store_optimal_sectors(Node *n, const Attribute *a, char **value, const char *text) {
        uint32_t v;
        int r;

        r = kernel_strtou32(text, &v);
        if (r < 0)
                return r;
        if (backstore(n)->exports > 0 || v > attrib_number(n, "hw_max_sectors"))
                return -EINVAL;

        set_number(value, v);
        return 0;
}

static int store_block_size(Node *n, const Attribute *a, char **value, const char *text) {
        uint32_t v;
        int r;

        r = kernel_strtou32(text, &v);
        if (r < 0)
                return r;
        if (backstore(n)->exports > 0 || (v != 512 && v != 1024 && v != 2048 && v != 4096))
                return -EINVAL;

        set_number(value, v);
        return 0;
}

static const NodeType node_type_attrib = {
        .attributes = (const Attribute[]) {
                { "alua_support", .store = store_one, .initial = "1" },
                { "block_size", .store = store_block_size, .initial = "0" },
                { "emulate_3pc", .store = store_bool, .initial = "1" },
                { "emulate_caw", .store = store_bool, .initial = "1" },
                { "emulate_dpo", .store = store_ignored, .initial = "1" },
                { "emulate_fua_read", .store = store_ignored, .initial = "1" },
                { "emulate_fua_write", .store = store_bool, .initial = "1" },
                { "emulate_model_alias", .store = store_model_alias, .initial = "0" },
                { "emulate_pr", .store = store_bool, .initial = "1" },
                { "emulate_rest_reord", .store = store_zero, .initial = "0" },
                { "emulate_tas", .store = store_bool_idle, .initial = "1" },
                { "emulate_tpu", .store = store_unmap, .initial = "0" },
                { "emulate_tpws", .store = store_unmap, .initial = "0" },
                { "emulate_ua_intlck_ctrl", .store = store_ua_intlck, .initial = "0" },
                { "emulate_write_cache", .store = store_write_cache, .initial = "0" },
                { "enforce_pr_isids", .store = store_bool, .initial = "1" },
                { "force_pr_aptpl", .store = store_bool_idle, .initial = "0" },
                { "hw_block_size", .initial = "0" },
                { "hw_max_sectors", .initial = "0" },
                { "hw_pi_prot_type", .initial = "0" },
                { "hw_queue_depth", .initial = "0" },
                { "is_nonrot", .store = store_bool, .initial = "0" },
                { "max_unmap_block_desc_count", .store = store_u32, .initial = "0" },
                { "max_unmap_lba_count", .store = store_u32, .initial = "0" },
                { "max_write_same_len", .store = store_u32, .initial = "0" },
                { "optimal_sectors", .store = store_optimal_sectors, .initial = "0" },
                { "pgr_support", .store = store_one, .initial = "1" },
                { "pi_prot_format", .store = store_zero, .initial = "0" },
                { "pi_prot_type", .store = store_prot_type, .initial = "0" },
                { "pi_prot_verify", .store = store_prot_verify, .initial = "0" },
                { "queue_depth", .store = store_queue_depth, .initial = "0" },
                { "unmap_granularity", .store = store_u32, .initial = "0" },
                { "unmap_granularity_alignment", .store = store_u32, .initial = "0" },
                { "unmap_zeroes_data", .store = store_unmap, .initial = "0" },
                {},
        },
};

/* --- wwn/ --- */

static size_t inquiry_length(const Attribute *a) {
        return streq(a->name, "vendor_id") ? 8 : streq(a->name, "product_id") ? 16 : 4;
}

/* strstrip(), lib/string_helpers.c */
static char *strip(const char *text) {
        size_t k;

        text += strspn(text, " \t\n\v\f\r");
        k = strlen(text);
        while (k > 0 && strchr(" \t\n\v\f\r", text[k - 1]))
                k--;

        return strndup(text, k) ?: (abort(), NULL);
}

static int store_inquiry(Node *n, const Attribute *a, char **value, const char *text) {
        _cleanup_free_ char *stripped = strip(text);

        if (strlen(text) >= inquiry_length(a) + 2 || strlen(stripped) > inquiry_length(a))
                return -EOVERFLOW;
        for (const char *p = stripped; *p; p++)
                if (*p < 0x20 || *p > 0x7e)
                        return -EINVAL;
        if (backstore(n)->exports > 0)
                return -EINVAL;

        fake_set_text(value, stripped);
        return 0;
}

static int store_company(Node *n, const Attribute *a, char **value, const char *text) {
        char s[16];
        uint32_t v;
        int r;

        r = kernel_strtou32(text, &v);
        if (r < 0)
                return r;
        if (v >= 0x1000000)
                return -EOVERFLOW;
        if (backstore(n)->exports > 0)
                return -EINVAL;

        snprintf(s, sizeof s, "%#08x", v);
        fake_set_text(value, s);
        return 0;
}

static int show_serial(const Node *n, const Attribute *a, const char *value, char page[static PAGE]) {
        snprintf(page, PAGE, "T10 VPD Unit Serial Number: %s", value);
        return 0;
}

static int store_serial(Node *n, const Attribute *a, char **value, const char *text) {
        _cleanup_free_ char *stripped = strip(text);

        if (strlen(text) >= 254)
                return -EOVERFLOW;
        if (backstore(n)->exports > 0)
                return -EINVAL;

        fake_set_text(value, stripped);
        return 0;
}

static const NodeType node_type_dev_wwn = {
        .attributes = (const Attribute[]) {
                { "company_id", .store = store_company, .initial = "0x001405" },
                { "product_id", .store = store_inquiry, .initial = "IBLOCK" },
                { "revision", .store = store_inquiry, .initial = "4.0" },
                { "vendor_id", .store = store_inquiry, .initial = "LIO-ORG" },
                { "vpd_assoc_logical_unit" },
                { "vpd_assoc_scsi_target_device" },
                { "vpd_assoc_target_port" },
                { "vpd_protocol_identifier" },
                { "vpd_unit_serial", .show = show_serial, .store = store_serial },
                {},
        },
};

/* --- pr/, alua/, statistics/ --- */

static int show_pr(const Node *n, const Attribute *a, const char *value, char page[static PAGE]) {
        Node *g = node_child(node_up(n, &node_type_backstore), "attrib");
        bool disabled = streq(g->values[node_attribute(g, "emulate_pr")], "0"), aptpl = startswith(a->name, "res_aptpl");

        snprintf(page, PAGE, "%s", disabled ? aptpl ? "" : "SPC_RESERVATIONS_DISABLED" : value);
        return 0;
}

static int store_aptpl(Node *n, const Attribute *a, char **value, const char *text) {
        if (attrib_number(n, "emulate_pr") == 0)
                return 0;
        if (backstore(n)->exports > 0)
                return -EINVAL;

        return strstr(text, "initiator_node=") && strstr(text, "target_node=") && strstr(text, "sa_res_key=") ? 0 : -EINVAL;
}

#define NO_HOLDER "No SPC-3 Reservation holder"

static const NodeType node_type_pr = {
        .attributes = (const Attribute[]) {
                { "res_aptpl_active", .show = show_pr, .initial = "APTPL Bit Status: Disabled" },
                { "res_aptpl_metadata", .show = show_pr, .store = store_aptpl, .initial = "Ready to process PR APTPL metadata.." },
                { "res_holder", .show = show_pr, .initial = NO_HOLDER },
                { "res_pr_all_tgt_pts", .initial = NO_HOLDER },
                { "res_pr_generation", .initial = "0x00000000" },
                { "res_pr_holder_tg_port", .initial = NO_HOLDER },
                { "res_pr_registered_i_pts", .initial = "SPC-3 PR Registrations:\nNone" },
                { "res_pr_type", .initial = NO_HOLDER },
                { "res_type", .show = show_pr, .initial = "SPC3_PERSISTENT_RESERVATIONS" },
                {},
        },
};

static int make_nothing(Node *parent, const char *name, Node *n) {
        return -ENOSYS;
}

static int store_access_state(Node *n, const Attribute *a, char **value, const char *text) {
        return backstore(n)->configured ? store_u32(n, a, value, text) : -ENODEV;
}

static const NodeType node_type_tg_pt_gp = {
        .attributes = (const Attribute[]) {
                { "alua_access_state", .store = store_access_state, .initial = "0" },
                { "alua_access_status", .store = store_u32, .initial = "None" },
                { "alua_access_type", .store = store_u32, .initial = "Implicit and Explicit" },
                { "alua_support_active_nonoptimized", .store = store_u32, .initial = "1" },
                { "alua_support_active_optimized", .store = store_u32, .initial = "1" },
                { "alua_support_lba_dependent", .store = store_u32, .initial = "0" },
                { "alua_support_offline", .store = store_u32, .initial = "1" },
                { "alua_support_standby", .store = store_u32, .initial = "1" },
                { "alua_support_transitioning", .store = store_u32, .initial = "1" },
                { "alua_support_unavailable", .store = store_u32, .initial = "1" },
                { "alua_write_metadata", .store = store_u32, .initial = "0" },
                { "implicit_trans_secs", .store = store_u32, .initial = "0" },
                { "members" },
                { "nonop_delay_msecs", .store = store_u32, .initial = "100" },
                { "preferred", .store = store_u32, .initial = "0" },
                { "tg_pt_gp_id", .store = store_u32, .initial = "0" },
                { "trans_delay_msecs", .store = store_u32, .initial = "0" },
                {},
        },
};

static const NodeType node_type_dev_alua = {
        .make = make_nothing,
        .groups = (const DefaultGroup[]) { { "default_tg_pt_gp", &node_type_tg_pt_gp }, {} },
};

static const NodeType node_type_scsi_dev = {
        .attributes = (const Attribute[]) {
                { "indx", .initial = "0" }, { "inst", .initial = "0" }, { "ports", .initial = "0" }, { "role", .initial = "Target" }, {},
        },
};

static const NodeType node_type_scsi_lu = {
        .attributes = (const Attribute[]) {
                { "creation_time", .initial = "0" }, { "dev", .initial = "0" }, { "dev_type", .initial = "0" },
                { "full_stat", .initial = "0" }, { "hs_num_cmds", .initial = "0" }, { "indx", .initial = "0" },
                { "inst", .initial = "0" }, { "lu_name", .initial = "None" }, { "lun", .initial = "0" },
                { "num_cmds", .initial = "0" }, { "prod", .initial = "IBLOCK" }, { "read_mbytes", .initial = "0" },
                { "resets", .initial = "0" }, { "rev", .initial = "4.0" }, { "state_bit", .initial = "exposed" },
                { "status", .initial = "available" }, { "vend", .initial = "LIO-ORG" }, { "write_mbytes", .initial = "0" },
                {},
        },
};

static const NodeType node_type_scsi_tgt_dev = {
        .attributes = (const Attribute[]) {
                { "aborts_complete", .initial = "0" }, { "aborts_no_task", .initial = "0" }, { "indx", .initial = "0" },
                { "inst", .initial = "0" }, { "non_access_lus", .initial = "0" }, { "num_lus", .initial = "1" },
                { "resets", .initial = "0" }, { "status", .initial = "activated" },
                {},
        },
};

static const NodeType node_type_dev_statistics = {
        .make = make_nothing,
        .groups = (const DefaultGroup[]) {
                { "scsi_dev", &node_type_scsi_dev },
                { "scsi_lu", &node_type_scsi_lu },
                { "scsi_tgt_dev", &node_type_scsi_tgt_dev },
                {},
        },
};

/* --- the backstore itself --- */

static int show_lu_gp(const Node *n, const Attribute *a, const char *value, char page[static PAGE]) {
        snprintf(page, PAGE, "%s", n->backstore.configured ? "LU Group Alias: default_lu_gp\nLU Group ID: 0" : "");
        return 0;
}

static int control_option(Backstore *b, const char *option) {
        const char *v;
        char *end;
        long k;

        v = startswith(option, "udev_path=");
        if (v && *v) {
                if (b->block)
                        return -EEXIST;
                fake_set_text(&b->path, v);
                return 0;
        }

        v = startswith(option, "readonly=");
        if (v && *v) {
                k = strtol(v, &end, 0);
                if (end == v || *end)
                        return 0;
                if (k < 0)
                        return -EINVAL;
                b->read_only = (unsigned long) k;
        }

        return 0;       /* what it does not know it passes over in silence */
}

/* iblock_set_configfs_dev_params() */
static int store_control(Node *n, const Attribute *a, char **value, const char *text) {
        _cleanup_free_ char *copy = strdup(text);
        char *state = NULL;
        int r;

        if (!copy)
                abort();

        for (char *o = strtok_r(copy, ",\n", &state); o; o = strtok_r(NULL, ",\n", &state)) {
                r = control_option(&n->backstore, o);
                if (r < 0)
                        return r;
        }

        return 0;
}

static int show_enable(const Node *n, const Attribute *a, const char *value, char page[static PAGE]) {
        snprintf(page, PAGE, "%d", n->backstore.configured);
        return 0;
}

/* target_configure_device(), iblock_configure_device() */
static int store_enable(Node *n, const Attribute *a, char **value, const char *text) {
        Backstore *b = &n->backstore;
        int r;

        if (!strchr(text, '1'))
                return -EINVAL;
        if (b->configured)
                return -EEXIST;

        if (streq(b->plugin, "iblock")) {
                if (!b->path)
                        return -EINVAL;
                r = block_open(b->path, !b->read_only, &b->block);
                if (r < 0)
                        return r;

                set_number(attrib_value(n, "hw_block_size"), b->block->block_size);
                set_number(attrib_value(n, "block_size"), b->block->block_size);
                set_number(attrib_value(n, "hw_max_sectors"), b->block->max_sectors);
                set_number(attrib_value(n, "optimal_sectors"), b->block->max_sectors);
                set_number(attrib_value(n, "hw_queue_depth"), b->block->queue_depth);
                set_number(attrib_value(n, "queue_depth"), b->block->queue_depth);
                set_number(attrib_value(n, "max_write_same_len"), 0xffff);
                if (!b->block->rotational)
                        set_number(attrib_value(n, "is_nonrot"), 1);
                if (b->block->discard) {
                        set_number(attrib_value(n, "max_unmap_lba_count"), 8192);
                        set_number(attrib_value(n, "max_unmap_block_desc_count"), 1);
                        set_number(attrib_value(n, "unmap_granularity"), 1);
                }
        }

        b->configured = true;
        return 0;
}

/* transport_dump_dev_state(), iblock_show_configfs_dev_params() */
static int show_info(const Node *n, const Attribute *a, const char *value, char page[static PAGE]) {
        const Backstore *b = backstore_const(n);
        const Node *g = node_child(n, "attrib");
        char device[512] = "", path[600] = "";
        int k;

        k = snprintf(page, PAGE, "Status: %s  Max Queue Depth: %u  SectorSize: %s  HwMaxSectors: %s\n        ",
                     b->exports > 0 ? "ACTIVATED" : "DEACTIVATED", b->queue_depth, g->values[node_attribute(g, "block_size")],
                     g->values[node_attribute(g, "hw_max_sectors")]);

        if (!streq(b->plugin, "iblock")) {
                snprintf(page + k, PAGE - (size_t) k, "TCM %s", n->parent->name);
                return 0;
        }

        if (b->block)
                snprintf(device, sizeof device, "iBlock device: %s", strrchr(b->block->node, '/') + 1);
        if (b->path)
                snprintf(path, sizeof path, "  UDEV PATH: %s", b->path);
        snprintf(page + k, PAGE - (size_t) k, "%s%s  readonly: %lu\n        Major: %u Minor: %u%s", device, path, b->read_only,
                 b->block ? major(b->block->devnum) : 0, b->block ? minor(b->block->devnum) : 0, b->block ? "  CLAIMED: IBLOCK" : "");
        return 0;
}

static int store_refused(Node *n, const Attribute *a, char **value, const char *text) {
        return -EINVAL;
}

const NodeType node_type_backstore = {
        .attributes = (const Attribute[]) {
                { "alias", .store = store_text },
                { "alua_lu_gp", .show = show_lu_gp, .store = store_refused },
                { "control", .store = store_control, .write_only = true },
                { "enable", .show = show_enable, .store = store_enable },
                { "info", .show = show_info },
                { "lba_map", .store = store_refused },
                { "udev_path", .store = store_text },
                {},
        },
        .groups = (const DefaultGroup[]) {
                { "action", &node_type_group },
                { "alua", &node_type_dev_alua },
                { "attrib", &node_type_attrib },
                { "pr", &node_type_pr },
                { "statistics", &node_type_dev_statistics },
                { "wwn", &node_type_dev_wwn },
                {},
        },
};
