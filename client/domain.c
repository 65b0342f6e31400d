/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <ctype.h>
#include <dlfcn.h>
#include <limits.h>

#include <libxml/parser.h>
#include <libxml/tree.h>

#include "domain.h"

/* Opened by the hook alone: the other verbs would map it, and ICU with it, for nothing. */
#define LIBRARY LIBXML_VERSION < 21400 ? "libxml2.so.2" : "libxml2.so.16"

/* Declared as the header declares them, so that a change of the library's interface does not compile. */
#define FUNCTIONS(X)                             \
        X(xmlNewParserCtxt)                      \
        X(xmlFreeParserCtxt)                     \
        X(xmlStopParser)                         \
        X(xmlCtxtReadMemory)                     \
        X(xmlFreeDoc)                            \
        X(xmlDocGetRootElement)                  \
        X(xmlGetNoNsProp)                        \
        X(xmlNodeGetContent)

#define DECLARE(function) static typeof(&function) dl_##function;
FUNCTIONS(DECLARE)
static typeof(&xmlFree) dl_xmlFree;             /* a variable with a function in it */

static inline void document_freep(xmlDoc **d) {
        if (*d)
                dl_xmlFreeDoc(*d);
}

static inline void parser_freep(xmlParserCtxt **p) {
        if (*p)
                dl_xmlFreeParserCtxt(*p);
}

/* It stays: the program ends soon. */
static int library_open(void) {
        void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);

        if (!library)
                return -EOPNOTSUPP;

#define RESOLVE(function)                                               \
        dl_##function = dlsym(library, #function);                      \
        if (!dl_##function)                                             \
                return -EOPNOTSUPP;
        FUNCTIONS(RESOLVE)
        RESOLVE(xmlFree)

        return 0;
}

void domain_done(Domain *d) {
        free(d->uuid);
        strv_free(d->wwpns);
        *d = (Domain) {};
}

/* The first thing that would take entities, files or the network. */
static void on_doctype(void *userdata, const xmlChar *name _unused_, const xmlChar *external _unused_, const xmlChar *system _unused_) {
        xmlParserCtxt *parser = userdata;
        bool *seen = parser->_private;

        *seen = true;
        dl_xmlStopParser(parser);
}

static bool is_element(const xmlNode *n, const char *name) {
        return n->type == XML_ELEMENT_NODE && streq((const char *) n->name, name);
}

static bool attribute_is(xmlNode *n, const char *name, const char *value) {
        xmlChar *found = dl_xmlGetNoNsProp(n, (const xmlChar *) name);
        bool equal = streq_ptr((const char *) found, value);

        (*dl_xmlFree)(found);
        return equal;
}

/* 8-4-4-4-12 hex digits, which is how libvirt writes it whatever it was given. */
static bool is_uuid(const char *s) {
        size_t i;

        for (i = 0; s[i]; i++)
                if (i == 8 || i == 13 || i == 18 || i == 23 ? s[i] != '-' : !isxdigit((unsigned char) s[i]))
                        return false;

        return i == 36;
}

static int read_uuid(xmlNode *n, Domain *d) {
        xmlChar *text = dl_xmlNodeGetContent(n);
        int r = 0;

        if (text && !d->uuid && is_uuid((const char *) text)) {
                d->uuid = strdup((const char *) text);
                r = d->uuid ? 0 : -ENOMEM;
        }

        (*dl_xmlFree)(text);
        return r;
}

/* <hostdev mode='subsystem' type='scsi_host'><source protocol='vhost' wwpn='naa.…'/></hostdev> */
static int read_hostdev(xmlNode *hostdev, Domain *d) {
        int r = 0;

        if (!attribute_is(hostdev, "mode", "subsystem") || !attribute_is(hostdev, "type", "scsi_host"))
                return 0;

        for (xmlNode *n = hostdev->children; r >= 0 && n; n = n->next)
                if (is_element(n, "source") && attribute_is(n, "protocol", "vhost")) {
                        xmlChar *wwpn = dl_xmlGetNoNsProp(n, (const xmlChar *) "wwpn");

                        r = strv_extend(&d->wwpns, wwpn ? (const char *) wwpn : "");
                        (*dl_xmlFree)(wwpn);
                }

        return r;
}

static int read_domain(const xmlNode *root, Domain *d) {
        int r = 0;

        for (xmlNode *n = root->children; r >= 0 && n; n = n->next)
                if (is_element(n, "uuid"))
                        r = read_uuid(n, d);
                else if (is_element(n, "devices"))
                        for (xmlNode *device = n->children; r >= 0 && device; device = device->next)
                                if (is_element(device, "hostdev"))
                                        r = read_hostdev(device, d);

        return r;
}

static int refuse_document(const char **ret_why, const char *why) {
        *ret_why = why;
        return -EINVAL;
}

int domain_parse(const char *text, size_t size, Domain *ret, const char **ret_why) {
        _cleanup_(parser_freep) xmlParserCtxt *parser = NULL;
        _cleanup_(document_freep) xmlDoc *document = NULL;
        _cleanup_(domain_done) Domain d = {};
        bool has_doctype = false;
        const xmlNode *root;
        int r;

        if (size == 0)
                return refuse_document(ret_why, "it is empty");
        if (size > INT_MAX)
                return refuse_document(ret_why, "it is too long");
        if (library_open() < 0)
                return refuse_document(ret_why, "libxml2, which reads it, is not installed");

        parser = dl_xmlNewParserCtxt();
        if (!parser)
                return -ENOMEM;

        parser->_private = &has_doctype;
        parser->sax->internalSubset = on_doctype;
        document = dl_xmlCtxtReadMemory(parser, text, (int) size, NULL, NULL, XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
        if (has_doctype)
                return refuse_document(ret_why, "it has a document type");
        if (parser->errNo == XML_ERR_NO_MEMORY)
                return -ENOMEM;
        if (!document || !parser->wellFormed)
                return refuse_document(ret_why, "it is not well-formed XML");

        root = dl_xmlDocGetRootElement(document);
        if (!root || !is_element(root, "domain"))
                return refuse_document(ret_why, "it is no domain");

        r = read_domain(root, &d);
        if (r < 0)
                return r;

        *ret = d;
        d = (Domain) {};
        return 0;
}
