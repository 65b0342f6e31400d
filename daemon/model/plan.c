/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdarg.h>
#include <sys/sysmacros.h>

#include "model/plan.h"

#define MARK "vhscsid diskseq=%" PRIu64 " dev=%u:%u"

const char *const plan_default_attributes[] = { "emulate_3pc=0", "emulate_model_alias=1", NULL };

void plan_done(Plan *p) {
        for (size_t i = 0; i < p->n; i++) {
                free(p->steps[i].path);
                free(p->steps[i].value);
        }
        free(p->steps);
        *p = (Plan) {};
}

const char *plan_plugin(const LunWant *want) {
        return want->file ? "fileio" : "iblock";
}

const char *step_op_to_string(StepOp op) {
        static const char *const names[_STEP_OP_MAX] = {
                [STEP_MKDIR] = "mkdir",
                [STEP_WRITE] = "write",
                [STEP_OPEN_FILE] = "open",
                [STEP_VERIFY] = "verify",
                [STEP_SYMLINK] = "symlink",
                [STEP_UNLINK] = "unlink",
                [STEP_RMDIR] = "rmdir",
        };

        return names[op];
}

void target_seen_done(TargetSeen *s) {
        free(s->nexus);
        *s = (TargetSeen) {};
}

void lun_seen_done(LunSeen *s) {
        free(s->link);
        free(s->link_target);
        free(s->serial);
        free(s->alias);
        free(s->file);
        strv_free(s->attributes);
        *s = (LunSeen) {};
}

/* value NULL: none. */
static int plan_add(Plan *p, StepOp op, const char *value, const char *format, ...) _printf_(4, 5);

static int plan_add(Plan *p, StepOp op, const char *value, const char *format, ...) {
        Step s = { .op = op };
        va_list ap;
        int n;

        if (p->n == p->room) {
                size_t room = p->room > 0 ? p->room * 2 : 16;
                Step *a = realloc(p->steps, room * sizeof *a);

                if (!a)
                        return -ENOMEM;
                p->steps = a;
                p->room = room;
        }

        va_start(ap, format);
        n = vasprintf(&s.path, format, ap);
        va_end(ap);
        if (n < 0)
                return -ENOMEM;

        if (value) {
                s.value = strdup(value);
                if (!s.value) {
                        free(s.path);
                        return -ENOMEM;
                }
        }

        p->steps[p->n++] = s;
        return 0;
}

/* Steps are added until one cannot be: the first error sticks, the calls after it do nothing. */
#define ADD(r, ...)                                             \
        do {                                                    \
                if ((r) >= 0)                                   \
                        (r) = plan_add(__VA_ARGS__);            \
        } while (false)

int plan_mark(uint64_t diskseq, dev_t devnum, char **ret) {
        char *s;

        if (asprintf(&s, MARK, diskseq, major(devnum), minor(devnum)) < 0)
                return -ENOMEM;

        *ret = s;
        return 0;
}

bool plan_parse_mark(const char *alias, uint64_t *ret_diskseq, dev_t *ret_devnum) {
        unsigned ma, mi;
        uint64_t seq;
        int end = 0;

        if (!alias || sscanf(alias, "vhscsid diskseq=%" SCNu64 " dev=%u:%u%n", &seq, &ma, &mi, &end) != 3 || alias[end])
                return false;

        *ret_diskseq = seq;
        *ret_devnum = makedev(ma, mi);
        return true;
}

int plan_target_up(const TargetWant *want, const TargetSeen *seen, Plan *p) {
        int r = 0;

        if (!want->wanted)
                return 0;

        if (!seen->wwn_dir)
                ADD(r, p, STEP_MKDIR, NULL, "vhost/%s", want->wwn);
        if (!seen->tpg_dir)
                ADD(r, p, STEP_MKDIR, NULL, "vhost/%s/tpgt_1", want->wwn);
        /* A nexus that differs stays: replacing it would cut a guest (facts 1.2), and it is there to be the same. */
        if (!seen->nexus)
                ADD(r, p, STEP_WRITE, want->nexus, "vhost/%s/tpgt_1/nexus", want->wwn);

        return r;
}

int plan_target_down(const TargetWant *want, const TargetSeen *seen, Plan *p) {
        int r = 0;

        if (want->wanted)
                return 0;

        /* The nexus goes with the portal group (facts 1.1). */
        if (seen->tpg_dir)
                ADD(r, p, STEP_RMDIR, NULL, "vhost/%s/tpgt_1", want->wwn);
        if (seen->wwn_dir)
                ADD(r, p, STEP_RMDIR, NULL, "vhost/%s", want->wwn);

        return r;
}

static int plan_attribute(const LunWant *want, const LunSeen *seen, const char *attribute, Plan *p) {
        const char *value = strchr(attribute, '=');
        size_t n = (size_t) (value - attribute);
        const char *is = strv_value(seen->attributes, attribute, n);

        if (streq_ptr(is, value + 1))
                return 0;

        return plan_add(p, STEP_WRITE, value + 1, "core/%s_%u/%s/attrib/%.*s", plan_plugin(want), want->hba, want->name, (int) n, attribute);
}

/* The kernel opens the device at the end of this. */
static int plan_open(const LunWant *want, const char *mark, Plan *p) {
        _cleanup_free_ char *value = NULL;
        int r = 0;

        ADD(r, p, STEP_WRITE, mark, "core/%s_%u/%s/alias", plan_plugin(want), want->hba, want->name);
        if (want->file) {
                ADD(r, p, STEP_WRITE, want->link, "core/%s_%u/%s/udev_path", plan_plugin(want), want->hba, want->name);
                if (asprintf(&value, "%" PRIu64 " %" PRIu64 " %s", want->size, want->diskseq, want->node) < 0)
                        return -ENOMEM;
                ADD(r, p, STEP_OPEN_FILE, value, "core/%s_%u/%s", plan_plugin(want), want->hba, want->name);
                return r;
        }

        if (asprintf(&value, "udev_path=%s", want->node) < 0)
                return -ENOMEM;
        ADD(r, p, STEP_WRITE, value, "core/%s_%u/%s/control", plan_plugin(want), want->hba, want->name);
        if (want->readonly)
                ADD(r, p, STEP_WRITE, "readonly=1", "core/%s_%u/%s/control", plan_plugin(want), want->hba, want->name);
        ADD(r, p, STEP_WRITE, want->link, "core/%s_%u/%s/udev_path", plan_plugin(want), want->hba, want->name);
        ADD(r, p, STEP_WRITE, "1", "core/%s_%u/%s/enable", plan_plugin(want), want->hba, want->name);
        return r;
}

/* What has to be set before the first link: most of it is refused afterwards (facts 1.2). */
static int plan_backstore_up(const LunWant *want, const LunSeen *seen, Plan *p) {
        _cleanup_free_ char *mark = NULL;
        int r;

        r = plan_mark(want->diskseq, want->devnum, &mark);
        if (!seen->hba_dir)
                ADD(r, p, STEP_MKDIR, NULL, "core/%s_%u", plan_plugin(want), want->hba);
        if (!seen->backstore_dir)
                ADD(r, p, STEP_MKDIR, NULL, "core/%s_%u/%s", plan_plugin(want), want->hba, want->name);
        if (r >= 0 && !seen->enabled)
                r = plan_open(want, mark, p);

        /* With another LUN on it, it is exported, and all of these were set before. Not so if that LUN was on an older instance, and the pass
         * that opened this one for it has died half way, of which nobody has told us yet. The serial is the last of them. */
        if (want->others && seen->enabled && streq_ptr(seen->serial, want->serial))
                return r;

        /* One that is enabled already may have been so by a pass that died before it looked. */
        if (!want->file)
                ADD(r, p, STEP_VERIFY, mark, "core/%s_%u/%s/info", plan_plugin(want), want->hba, want->name);
        for (const char *const *a = plan_default_attributes; r >= 0 && *a; a++)
                if (!strv_value(want->attributes, *a, strcspn(*a, "=")))
                        r = plan_attribute(want, seen, *a, p);
        for (char *const *a = want->attributes; r >= 0 && a && *a; a++)
                r = plan_attribute(want, seen, *a, p);

        if (!streq_ptr(seen->serial, want->serial))
                ADD(r, p, STEP_WRITE, want->serial, "core/%s_%u/%s/wwn/vpd_unit_serial", plan_plugin(want), want->hba, want->name);

        return r;
}

bool plan_is_marked(const LunSeen *seen) {
        uint64_t diskseq;
        dev_t devnum;

        return plan_parse_mark(seen->alias, &diskseq, &devnum);
}

/* By all that its guest can tell, and on what is wanted. */
static bool is_the_same(const LunWant *want, const LunSeen *seen) {
        if (!streq_ptr(seen->serial, want->serial))
                return false;

        return want->file ? streq_ptr(seen->file, want->node) : seen->devnum == want->devnum;
}

bool plan_backstore_is_theirs(const LunWant *want, const LunSeen *seen) {
        if (!seen->enabled || plan_is_marked(seen))
                return false;
        if (!want->unmarked || seen->hba != want->hba)
                return true;

        /* What is open may be all that is left of a disk that is gone; otherwise it must be the wanted one. A name like /dev/sdb in somebody's
         * file may have come to mean another disk since we took the backstore over. */
        return want->usable && !want->gone ? !is_the_same(want, seen) : !streq_ptr(seen->serial, want->serial);
}

/* Does it lead to the backstore of the wanted name, in that HBA? Out of memory nobody knows. */
static bool links_to(const LunWant *want, const LunSeen *seen, uint32_t hba) {
        _cleanup_free_ char *place = NULL;

        return asprintf(&place, "core/%s_%u/%s", plan_plugin(want), hba, want->name) >= 0 && streq_ptr(seen->link_target, place);
}

bool plan_link_is_theirs(const LunWant *want, const LunSeen *seen) {
        return seen->link && (!links_to(want, seen, want->hba) || plan_backstore_is_theirs(want, seen));
}

bool plan_can_take_over(const LunWant *want, const LunSeen *seen) {
        if (!want->wanted || !want->usable || !seen->link || !seen->enabled || plan_is_marked(seen))
                return false;
        if (want->unmarked && seen->hba == want->hba)
                return false;           /* that was done */

        return links_to(want, seen, seen->hba) && is_the_same(want, seen);
}

static int alteration(const LunWant *want, const char *file, const char *is, const char *wanted, char **ret_path, char **ret_text) {
        _cleanup_free_ char *path = NULL;

        if (asprintf(&path, "core/%s_%u/%s/%s", plan_plugin(want), want->hba, want->name, file) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        if (asprintf(ret_text, "is %s, and not %s", is, wanted) < 0)
                return -ENOMEM;

        *ret_path = TAKE_PTR(path);
        return 1;
}

int plan_find_alteration(const LunWant *want, const LunSeen *seen, char **ret_path, char **ret_text) {
        const char *const *const lists[] = { plan_default_attributes, (const char *const *) want->attributes };

        if (!want->wanted || !seen->link || !seen->enabled || plan_link_is_theirs(want, seen))
                return 0;
        if (seen->serial && !streq_ptr(seen->serial, want->serial))
                return alteration(want, "wwn/vpd_unit_serial", seen->serial, strempty(want->serial), ret_path, ret_text);

        for (size_t i = 0; i < ELEMENTSOF(lists); i++)
                for (const char *const *a = lists[i]; a && *a; a++) {
                        size_t n = strcspn(*a, "=");
                        const char *is = strv_value(seen->attributes, *a, n);
                        char file[128];

                        /* It reads as 0 whatever was written (pi_prot_format_show(), drivers/target/target_core_configfs.c). */
                        if (!is || streq(is, *a + n + 1) || startswith(*a, "pi_prot_format="))
                                continue;
                        if (i == 0 && strv_value(want->attributes, *a, n))
                                continue;

                        (void) snprintf(file, sizeof file, "attrib/%.*s", (int) n, *a);
                        return alteration(want, file, is, *a + n + 1, ret_path, ret_text);
                }

        return 0;
}

/* What is somebody else's stays; the rest is ours to take away, whatever stands beside it. */
static int plan_lun_down(const LunWant *want, const LunSeen *seen, Plan *p) {
        bool keep_lun = plan_link_is_theirs(want, seen), keep_backstore = want->others || plan_backstore_is_theirs(want, seen);
        int r = 0;

        if (seen->link && !keep_lun)
                ADD(r, p, STEP_UNLINK, NULL, "vhost/%s/tpgt_1/lun/lun_%u/%s", want->wwn, want->number, seen->link);
        if (seen->dir && !keep_lun)
                ADD(r, p, STEP_RMDIR, NULL, "vhost/%s/tpgt_1/lun/lun_%u", want->wwn, want->number);
        if (seen->backstore_dir && !keep_backstore)
                ADD(r, p, STEP_RMDIR, NULL, "core/%s_%u/%s", plan_plugin(want), want->hba, want->name);
        if (seen->hba_dir && !seen->hba_others && !keep_backstore)
                ADD(r, p, STEP_RMDIR, NULL, "core/%s_%u", plan_plugin(want), want->hba);

        return r;
}

/* Enabled on another instance than the source means now, and not linked yet: a pass died, and the device was replaced meanwhile. No guest
 * has seen it, and none should. */
static bool backstore_is_stale(const LunWant *want, const LunSeen *seen) {
        uint64_t diskseq;
        dev_t devnum;

        /* A file was looked at when it was opened; mounts are numbered anew by each start of the daemon. */
        if (want->file || !want->usable || want->others || seen->link || !seen->enabled || !plan_parse_mark(seen->alias, &diskseq, &devnum))
                return false;

        return diskseq != want->diskseq || devnum != want->devnum;
}

/* Half-made, and nothing to stand on any more: no guest has seen it, and an open device would be kept from everybody else. */
static bool lun_is_leftover(const LunWant *want, const LunSeen *seen) {
        return !want->usable && !seen->link;
}

int plan_lun(const LunWant *want, const LunSeen *seen, Plan *p) {
        _cleanup_free_ char *place = NULL;
        LunSeen after = *seen;
        size_t n = p->n;
        int r = 0;

        if (asprintf(&place, "core/%s_%u/%s", plan_plugin(want), want->hba, want->name) < 0)
                return -ENOMEM;

        /* The store says what we wanted, not that nobody came before us: a link to another backstore is somebody else's, and so is an
         * enabled backstore of our name without our mark. */
        if (want->wanted && (plan_link_is_theirs(want, seen) || plan_backstore_is_theirs(want, seen) ||
                             (seen->hba_others && !seen->backstore_dir)))
                return -EADDRINUSE;

        if (!want->wanted || (want->gone && seen->enabled) || backstore_is_stale(want, seen) || lun_is_leftover(want, seen)) {
                r = plan_lun_down(want, seen, p);
                /* What is there when the steps above are done. */
                after = (LunSeen) {
                        .hba_dir = seen->hba_dir && (want->others || seen->hba_others),
                        .backstore_dir = seen->backstore_dir && want->others,
                        .enabled = seen->enabled && want->others,
                };
                /* The old instance stays under the other LUNs until their own passes took them down. */
                if (after.enabled)
                        return r;
        }

        /* A LUN that is up stays up, whatever its paths do; one that is not comes up only on a usable device. */
        if (r >= 0 && want->wanted && want->usable && !after.link) {
                r = plan_backstore_up(want, &after, p);
                if (!after.dir)
                        ADD(r, p, STEP_MKDIR, NULL, "vhost/%s/tpgt_1/lun/lun_%u", want->wwn, want->number);
                ADD(r, p, STEP_SYMLINK, place, "vhost/%s/tpgt_1/lun/lun_%u/%s", want->wwn, want->number, want->name);
        }

        if (r < 0)
                while (p->n > n) {
                        p->n--;
                        free(p->steps[p->n].path);
                        free(p->steps[p->n].value);
                }

        return r;
}
