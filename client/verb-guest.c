/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "exit-status.h"
#include "print.h"
#include "value.h"
#include "verbs.h"

/* What gives a target to a guest, in the words of QEMU and of libvirt. */

/* The only value in the answer of one of the target's members. Or status. */
static int ask(Client *c, const char *name, const char *member, uint64_t options, const char *signature, json_object **ret) {
        _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
        int r;

        r = client_new_target_call(c, name, member, &m);
        if (r != 0)
                return r;
        r = client_append_options(c, m, options, NULL);
        if (r < 0)
                return r;
        r = client_call(c, m, CALL_READ, &reply);
        if (r != 0)
                return r;
        if (!sd_bus_message_has_signature(reply, signature))
                return -EBADMSG;

        r = value_read(reply, ret);
        return r < 0 ? r : 0;
}

/* As a shell reads it back. */
static void print_quoted(const char *s) {
        static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789,.=_-+:/@%";

        if (*s && !s[strspn(s, plain)]) {
                fputs(s, stdout);
                return;
        }

        putchar('\'');
        for (; *s; s++)
                if (*s == '\'')
                        fputs("'\\''", stdout);
                else
                        putchar(*s);
        putchar('\'');
}

int verb_qemu_args(Client *c, char **argv) {
        const Arguments *a = c->arguments;
        _cleanup_json_ json_object *words = NULL;
        int r;

        if (a->json != JSON_OFF && (a->given & OPTION_SHELL)) {
                fprintf(stderr, "vhscsictl: %s: --json and --shell cannot be combined.\n", c->what);
                return EXIT_USAGE;
        }

        r = ask(c, argv[1], "GetQemuArguments", OPTIONS_DEVICE | OPTION_BUS | OPTION_ADDR | OPTION_DEVNO | OPTION_MIGRATABLE, "as", &words);
        if (r != 0)
                return r;

        if (a->given & OPTION_MIGRATABLE)
                client_note("Migrating this guest live damages its memory unless the kernel logs what vhost-scsi writes, as vhost_scsi does "
                            "from Linux 7.1 on. See MIGRATION in vhscsictl(1).");

        if (a->json != JSON_OFF)
                return print_json(words, a->json);

        for (size_t i = 0; i < value_length(words); i++) {
                const char *word = json_object_get_string(json_object_array_get_idx(words, i));

                if (i > 0)
                        putchar(' ');
                if (a->given & OPTION_SHELL)
                        print_quoted(word);
                else
                        print_colored(COLOR_NONE, word);
        }
        putchar('\n');
        return 0;
}

int verb_libvirt_xml(Client *c, char **argv) {
        _cleanup_json_ json_object *xml = NULL;
        int r;

        r = ask(c, argv[1], "GetLibvirtXml", OPTIONS_DEVICE | OPTION_ADDRESS, "s", &xml);
        if (r != 0)
                return r;

        if (c->arguments->json != JSON_OFF)
                return print_json(xml, c->arguments->json);

        fputs(json_object_get_string(xml), stdout);
        return 0;
}
