/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <ctype.h>
#include <sys/sysmacros.h>

#include "fake-arena.h"
#include "fake-attr.h"
#include "fake-lio.h"

/* How the kernel reads numbers, and the attributes that every kind of directory but the backstore's has. */

/* kstrtoull(), lib/kstrtox.c: a plus sign, 0x and 0 as prefixes if base is 0, one newline. */
int kernel_strtoull(const char *s, unsigned base, uint64_t *ret) {
        uint64_t v = 0;
        bool any = false;

        s += *s == '+';
        if (base == 0) {
                base = 10;
                if (s[0] == '0')
                        base = (s[1] | 0x20) == 'x' && isxdigit((unsigned char) s[2]) ? 16 : 8;
        }
        if (base == 16 && s[0] == '0' && (s[1] | 0x20) == 'x')
                s += 2;

        for (; isxdigit((unsigned char) *s); s++, any = true) {
                unsigned d = isdigit((unsigned char) *s) ? (unsigned) (*s - '0') : (unsigned) ((*s | 0x20) - 'a' + 10);

                if (d >= base)
                        break;
                if (__builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, d, &v))
                        return -ERANGE;
        }

        s += *s == '\n';
        if (!any || *s)
                return -EINVAL;

        *ret = v;
        return 0;
}

int kernel_strtou32(const char *s, uint32_t *ret) {
        uint64_t v;
        int r;

        r = kernel_strtoull(s, 0, &v);
        if (r < 0)
                return r;
        if (v > UINT32_MAX)
                return -ERANGE;

        *ret = (uint32_t) v;
        return 0;
}

/* strtobool(), lib/kstrtox.c: looks at a letter or two, whatever follows. */
int kernel_strtobool(const char *s, bool *ret) {
        switch (s[0]) {
        case 'y': case 'Y': case '1':
                *ret = true;
                return 0;
        case 'n': case 'N': case '0':
                *ret = false;
                return 0;
        case 'o': case 'O':
                if ((s[1] | 0x20) == 'n' || (s[1] | 0x20) == 'f') {
                        *ret = (s[1] | 0x20) == 'n';
                        return 0;
                }
                return -EINVAL;
        default:
                return -EINVAL;
        }
}

void set_number(char **value, uint64_t number) {
        char s[32];

        snprintf(s, sizeof s, "%lu", (unsigned long) number);
        fake_set_text(value, s);
}

int store_text(Node *n, const Attribute *a, char **value, const char *text) {
        size_t k = strlen(text);

        if (k > 511)
                return -EINVAL;

        fake_set_text(value, text);
        if ((*value)[k - 1] == '\n')
                (*value)[k - 1] = 0;
        return 0;
}

int store_u32(Node *n, const Attribute *a, char **value, const char *text) {
        uint32_t v;
        int r;

        r = kernel_strtou32(text, &v);
        if (r < 0)
                return r;

        set_number(value, v);
        return 0;
}

/* --- the root, HBAs, groups without a duty of their own --- */

static int store_dbroot(Node *n, const Attribute *a, char **value, const char *text) {
        return lio->backstores > 0 ? -EINVAL : store_text(n, a, value, text);
}

static int show_hba_info(const Node *n, const Attribute *a, const char *value, char page[static PAGE]) {
        const char *plugin = startswith(n->name, "rd_mcp") ? "rd_mcp" : n->name;

        snprintf(page, PAGE, "HBA Index: %u plugin: %.*s version: v5.0", n->hba_index,
                 (int) strcspn(plugin, plugin == n->name ? "_" : ""), plugin);
        return 0;
}

static int store_hba_mode(Node *n, const Attribute *a, char **value, const char *text) {
        return -EINVAL;         /* only pscsi has a mode */
}

static int make_nothing(Node *parent, const char *name, Node *n) {
        return -ENOSYS;
}

const NodeType node_type_group = {};
const NodeType node_type_link = {};
const NodeType node_type_unmakeable = { .make = make_nothing };

static int make_backstore(Node *parent, const char *name, Node *n) {
        n->type = &node_type_backstore;
        n->backstore.plugin = startswith(parent->name, "iblock_") ? "iblock" : "other";
        lio->backstores++;
        return 0;
}

const NodeType node_type_hba = {
        .attributes = (const Attribute[]) {
                { "hba_info", .show = show_hba_info },
                { "hba_mode", .store = store_hba_mode, .initial = "0" },
                {},
        },
        .make = make_backstore,
};

/* target_core_call_addhbatotarget(), target_core_configfs.c */
static int make_hba(Node *parent, const char *name, Node *n) {
        static const char *const plugins[] = { "iblock", "fileio", "rd_mcp", "pscsi", "user" };
        const char *first, *cut;
        uint64_t ignored;
        int r;

        if (strlen(name) >= 64)
                return -ENAMETOOLONG;

        first = strchr(name, '_');
        if (!first)
                return -EINVAL;
        cut = strchr(first + 1, '_') ?: first;

        r = kernel_strtoull(cut + 1, 0, &ignored);
        if (r < 0)
                return r;

        for (size_t i = 0; i < ELEMENTSOF(plugins); i++)
                if (strlen(plugins[i]) == (size_t) (cut - name) && startswith(name, plugins[i])) {
                        n->type = &node_type_hba;
                        n->hba_index = ++lio->last_hba;
                        return 0;
                }

        return -EINVAL;
}

static const NodeType node_type_lu_gp = {
        .attributes = (const Attribute[]) { { "lu_gp_id", .store = store_u32, .initial = "0" }, { "members" }, {} },
};

static const NodeType node_type_lu_gps = {
        .make = make_nothing,
        .groups = (const DefaultGroup[]) { { "default_lu_gp", &node_type_lu_gp }, {} },
};

static const NodeType node_type_core_alua = {
        .groups = (const DefaultGroup[]) { { "lu_gps", &node_type_lu_gps }, {} },
};

static const NodeType node_type_core = {
        .make = make_hba,
        .groups = (const DefaultGroup[]) { { "alua", &node_type_core_alua }, {} },
};

static int make_fabric(Node *parent, const char *name, Node *n) {
        if (!lio->fabric_loaded || !streq(name, "vhost"))
                return -EINVAL;

        n->type = &node_type_fabric;
        return 0;
}

const NodeType node_type_root = {
        .attributes = (const Attribute[]) {
                { "dbroot", .store = store_dbroot, .initial = "/var/target" },
                { "version", .initial = "Target Engine Core ConfigFS Infrastructure v5.0 on Linux/x86_64 on 6.1.0-fake" },
                {},
        },
        .make = make_fabric,
        .groups = (const DefaultGroup[]) { { "core", &node_type_core }, {} },
};

/* --- the fabric: drivers/vhost/scsi.c, target_core_fabric_configfs.c --- */

static char protocol(const char *name) {
        return strstr(name, "naa.") ? 'n' : strstr(name, "fc.") ? 'f' : strstr(name, "iqn.") ? 'i' : 0;
}

static int make_wwn(Node *parent, const char *name, Node *n) {
        n->protocol = protocol(name);
        n->type = &node_type_wwn;
        return n->protocol ? 0 : -EINVAL;
}

const NodeType node_type_fabric = {
        .attributes = (const Attribute[]) {
                { "version", .initial = "TCM_VHOST fabric module v0.1 on Linux/x86_64on 6.1.0-fake" },
                {},
        },
        .make = make_wwn,
        .groups = (const DefaultGroup[]) { { "discovery_auth", &node_type_group }, {} },
};

static int store_affinity(Node *n, const Attribute *a, char **value, const char *text) {
        uint64_t v;

        if (streq(text, "-1") || streq(text, "-2") || (kernel_strtoull(text, 0, &v) >= 0 && v < 2)) {
                fake_set_text(value, text);
                return 0;
        }

        return -EINVAL;
}

static const NodeType node_type_wwn_param = {
        .attributes = (const Attribute[]) { { "cmd_completion_affinity", .store = store_affinity, .initial = "-1" }, {} },
};

static int make_tpg(Node *parent, const char *name, Node *n) {
        uint64_t number;

        if (!startswith(name, "tpgt_") || kernel_strtoull(name + 5, 10, &number) < 0 || number >= 256)
                return -EINVAL;

        n->type = &node_type_tpg;
        return 0;
}

const NodeType node_type_wwn = {
        .make = make_tpg,
        .groups = (const DefaultGroup[]) {
                { "fabric_statistics", &node_type_group },
                { "param", &node_type_wwn_param },
                {},
        },
};

static bool is_bundled;

static int show_nexus(const Node *n, const Attribute *a, const char *value, char page[static PAGE]) {
        if (!n->tpg.nexus)
                return -ENODEV;

        snprintf(page, PAGE, "%s", n->tpg.nexus);
        return 0;
}

/* vhost_scsi_tpg_nexus_store() */
static int store_nexus(Node *n, const Attribute *a, char **value, const char *text) {
        size_t k;

        if (startswith(text, "NULL")) {
                if (!n->tpg.nexus)
                        return -ENODEV;
                if (n->tpg.ports > 0 || n->tpg.attached)
                        return -EBUSY;
                fake_set_text(&n->tpg.nexus, NULL);
                return 0;
        }

        if (strlen(text) >= 256 || !protocol(text) || protocol(text) != n->parent->protocol)
                return -EINVAL;
        if (n->tpg.nexus)
                return -EEXIST;

        /* vhscsi keeps all of it. */
        fake_set_text(&n->tpg.nexus, protocol(text) == 'f' && !is_bundled ? text + 3 : text);
        k = strlen(n->tpg.nexus);
        if (k > 0 && n->tpg.nexus[k - 1] == '\n')
                n->tpg.nexus[k - 1] = 0;
        return 0;
}

static int store_prot_type(Node *n, const Attribute *a, char **value, const char *text) {
        uint64_t v;
        int r;

        r = kernel_strtoull(text, 0, &v);
        if (r < 0)
                return r;
        if (v != 0 && v != 1 && v != 3)
                return -EINVAL;

        set_number(value, v);
        return 0;
}

static const NodeType node_type_tpg_attrib = {
        .attributes = (const Attribute[]) { { "fabric_prot_type", .store = store_prot_type, .initial = "0" }, {} },
};

/* Any number is taken, and none is compared with those that are there: lun_8 and lun_010 are the same LUN twice. */
static int make_lun(Node *parent, const char *name, Node *n) {
        uint64_t number;
        int r;

        if (!startswith(name, "lun_"))
                return -EINVAL;
        r = kernel_strtoull(name + 4, 0, &number);
        if (r < 0)
                return r;

        n->type = &node_type_lun;
        return 0;
}

static const NodeType node_type_luns = { .make = make_lun };

/* vhscsi(4) says who is attached, and counts. */
static int show_status(const Node *n, const Attribute *a, const char *value, char page[static PAGE]) {
        snprintf(page, PAGE, n->tpg.attached ? "attached 1\npid 4711\ncomm qemu-system-x86" : "attached 0");
        return 0;
}

static const Attribute tpg_attributes[] = { { "nexus", .show = show_nexus, .store = store_nexus }, {} };

static const Attribute tpg_attributes_bundled[] = {
        { "nexus", .show = show_nexus, .store = store_nexus },
        { "status", .show = show_status },
        { "stats", .initial = "requests 0\nread-bytes 0\nwritten-bytes 0\nerrors 0\nkicks 0\nsignals 0\nin-flight 0" },
        {},
};

NodeType node_type_tpg = {
        .attributes = tpg_attributes,
        .groups = (const DefaultGroup[]) {
                { "acls", &node_type_unmakeable },
                { "attrib", &node_type_tpg_attrib },
                { "auth", &node_type_group },
                { "lun", &node_type_luns },
                { "np", &node_type_unmakeable },
                { "param", &node_type_group },
                {},
        },
};

void lio_set_bundled(bool bundled) {
        is_bundled = bundled;
        node_type_tpg.attributes = bundled ? tpg_attributes_bundled : tpg_attributes;
}

static const Node *lun_backstore(const Node *n) {
        for (const Node *c = node_up(n, &node_type_lun)->child; c; c = c->next)
                if (c->type == &node_type_link)
                        return c->target;

        return NULL;
}

static int show_lun(const Node *n, const Attribute *a, const char *value, char page[static PAGE]) {
        if (!lun_backstore(n))
                return -ENODEV;

        snprintf(page, PAGE, "%s", value);
        return 0;
}

static int store_lun(Node *n, const Attribute *a, char **value, const char *text) {
        return lun_backstore(n) ? store_u32(n, a, value, text) : -ENODEV;
}

#define LUN_STATISTIC(s) { s, .show = show_lun, .initial = "0" }

static const NodeType node_type_scsi_port = {
        .attributes = (const Attribute[]) {
                LUN_STATISTIC("busy_count"), LUN_STATISTIC("dev"), LUN_STATISTIC("indx"), LUN_STATISTIC("inst"), LUN_STATISTIC("role"),
                {},
        },
};

static const NodeType node_type_scsi_tgt_port = {
        .attributes = (const Attribute[]) {
                LUN_STATISTIC("dev"), LUN_STATISTIC("hs_in_cmds"), LUN_STATISTIC("in_cmds"), LUN_STATISTIC("indx"),
                LUN_STATISTIC("inst"), LUN_STATISTIC("name"), LUN_STATISTIC("port_index"), LUN_STATISTIC("read_mbytes"),
                LUN_STATISTIC("write_mbytes"),
                {},
        },
};

static const NodeType node_type_scsi_transport = {
        .attributes = (const Attribute[]) {
                LUN_STATISTIC("dev_name"), LUN_STATISTIC("device"), LUN_STATISTIC("indx"), LUN_STATISTIC("inst"),
                LUN_STATISTIC("proto_id"),
                {},
        },
};

static const NodeType node_type_lun_statistics = {
        .make = make_nothing,
        .groups = (const DefaultGroup[]) {
                { "scsi_port", &node_type_scsi_port },
                { "scsi_tgt_port", &node_type_scsi_tgt_port },
                { "scsi_transport", &node_type_scsi_transport },
                {},
        },
};

const NodeType node_type_lun = {
        .attributes = (const Attribute[]) {
                { "alua_tg_pt_gp", .show = show_lun, .store = store_lun, .initial =
                  "TG Port Alias: default_tg_pt_gp\nTG Port Group ID: 0\nTG Port Primary Access State: Active/Optimized\n"
                  "TG Port Primary Access Status: None\nTG Port Secondary Access State: None\nTG Port Secondary Access Status: None" },
                { "alua_tg_pt_offline", .show = show_lun, .store = store_lun, .initial = "0" },
                { "alua_tg_pt_status", .show = show_lun, .store = store_lun, .initial = "0" },
                { "alua_tg_pt_write_md", .show = show_lun, .store = store_lun, .initial = "0" },
                {},
        },
        .groups = (const DefaultGroup[]) { { "statistics", &node_type_lun_statistics }, {} },
        .can_link = true,
};
