#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""One interface, told in five places: vtables, introspection files, bus policy, polkit actions and the man page say the same.

Also who may do what: every member is in MATRIX, its handler reaches polkit with these actions and no others, and asks before it looks at
anything. A new member fails this test until somebody has thought about it."""

import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree

TARGETS, LUNS, CONFIG, ACQUIRE, FORCE = "manage-targets", "manage-luns", "manage-config", "acquire", "force"
MATRIX = {
    ("Manager", "CreateTarget"): {TARGETS, FORCE},
    ("Manager", "GetTarget"): set(),
    ("Manager", "ListTargets"): set(),
    ("Manager", "ListDevices"): set(),
    ("Manager", "Export"): {TARGETS, LUNS, FORCE},
    ("Manager", "Adopt"): {TARGETS, FORCE},
    ("Manager", "Plan"): {TARGETS, LUNS, FORCE},
    ("Manager", "Apply"): {TARGETS, LUNS, FORCE},
    ("Manager", "ImportConfig"): {TARGETS, LUNS, FORCE},
    ("Manager", "ExportConfig"): {CONFIG},
    ("Manager", "CheckExport"): {CONFIG},
    ("Manager", "History"): {CONFIG},
    ("Manager", "Rollback"): {TARGETS, LUNS, FORCE},
    ("Manager", "Rescan"): {CONFIG},
    ("Manager", "Check"): set(),
    ("Manager", "Acquire"): {ACQUIRE, TARGETS, FORCE},
    ("Manager", "Release"): {ACQUIRE, FORCE},
    ("Target", "AddLun"): {LUNS, FORCE},
    ("Target", "RemoveLun"): {LUNS, FORCE},
    ("Target", "SetLabel"): {TARGETS, FORCE},
    ("Target", "Destroy"): {TARGETS, FORCE},
    ("Target", "GetStatistics"): set(),
    ("Target", "GetQemuArguments"): set(),
    ("Target", "GetLibvirtXml"): set(),
    ("Lun", "Remove"): {LUNS, FORCE},
    ("Lun", "GetStatistics"): set(),
}
STANDARD = {
    ("org.freedesktop.DBus.Introspectable", "Introspect"),
    ("org.freedesktop.DBus.Peer", "Ping"),
    ("org.freedesktop.DBus.Peer", "GetMachineId"),
    ("org.freedesktop.DBus.Properties", "Get"),
    ("org.freedesktop.DBus.Properties", "GetAll"),
    ("org.freedesktop.DBus.ObjectManager", "GetManagedObjects"),
}
# What a handler may do before polkit has answered: read the message, and decide which action to ask for from what everybody may read.
ASKS = re.compile(r"\b(?:polkit_authorize|probe_before_\w+)\(")
LOOKS = re.compile(r"\b(?!edit_find_target\b)(?:edit|survey|hotplug|store|inventory|request|uevents)_\w+\(")

PREFIX = "org.vhostscsi."
PROPERTY = re.compile(r'SD_BUS_PROPERTY\("(\w+)",\s*"([^"]+)",\s*\w+,\s*0,\s*([\w| ]+)\)')
METHOD = re.compile(r'SD_BUS_METHOD_WITH_ARGS\("(\w+)",\s*(SD_BUS_NO_ARGS|SD_BUS_ARGS\((?:"[^"]*"|[^")])*\)),\s*'
                    r'(SD_BUS_NO_RESULT|SD_BUS_RESULT\((?:"[^"]*"|[^")])*\)),\s*(\w+),\s*([\w| ]+)\)')
ADDED = re.compile(r"sd_bus_add_(?:object|fallback)_vtable\([^;]*?VHOSTSCSI_(\w+)_INTERFACE,\s*vtable")
FUNCTION = re.compile(r"^(?:static )?(?:[\w ]+?[ *])(\w+)\([^;{]*\) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
EMITS = "org.freedesktop.DBus.Property.EmitsChangedSignal"
FLAGS = {"SD_BUS_VTABLE_PROPERTY_CONST": "const", "SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE": "true",
         "SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION": "invalidates", "0": "false"}


class Interface:
    """Properties: name -> (type, emits). Methods: name -> (in, out), each a tuple of (type, name)."""

    def __init__(self) -> None:
        self.properties: dict[str, tuple] = {}
        self.methods: dict[str, tuple] = {}
        self.handlers: dict[str, str] = {}

    def add(self, part: "Interface") -> None:
        self.properties |= part.properties
        self.methods |= part.methods
        self.handlers |= part.handlers


def arguments(text: str) -> tuple:
    inner = text.partition("(")[2].rpartition(")")[0]
    words = [w.strip().strip('"') for w in inner.split(",")] if inner else []
    return tuple(zip(words[::2], words[1::2], strict=True))


class Source:
    def __init__(self, root: pathlib.Path) -> None:
        self.wrong: list[str] = []
        self.interfaces: dict[str, Interface] = {}
        self.functions: dict[str, str] = {}
        names = (root / "dbus/vhostscsi-names.h").read_text()
        self.names = dict(re.findall(r'#define VHOSTSCSI_(\w+)\s+"([^"]+)"', names))

        for file in sorted((root / "daemon/bus").glob("*.c")):
            text = file.read_text()
            bodies = dict(FUNCTION.findall(text))
            # Static functions of two files may have one name; who calls whom is only asked within a file and among global ones.
            for name, body in bodies.items():
                self.functions[f"{file.name}:{name}"] = body
                if re.search(rf"^(?!static)[\w ]+?[ *]{name}\(", text, re.MULTILINE):
                    self.functions[name] = body
            if added := ADDED.search(text):
                # Two files may have a part of an interface each.
                whole = self.interfaces.setdefault(self.names[added[1] + "_INTERFACE"], Interface())
                whole.add(self.vtable(file.name, text))

        polkit = (root / "daemon/bus/polkit.c").read_text()
        self.actions = {token: self.names[action] for token, action in
                        re.findall(r"case (POLKIT_\w+):\s*return VHOSTSCSI_(ACTION_\w+);", polkit)}

    def vtable(self, file: str, text: str) -> Interface:
        result = Interface()
        properties, methods = PROPERTY.findall(text), METHOD.findall(text)
        for name, kind, flags in properties:
            # Of two tables of which one is chosen at run time, the first is what the XML says.
            result.properties.setdefault(name, (kind, FLAGS[flags.strip()]))
        for name, given, returned, handler, flags in methods:
            result.methods[name] = (arguments(given), arguments(returned))
            result.handlers[name] = f"{file}:{handler}"
            if flags.strip() != "SD_BUS_VTABLE_UNPRIVILEGED":
                self.wrong.append(f"{file}: {name}: polkit decides, not sd-bus: SD_BUS_VTABLE_UNPRIVILEGED is missing")
        macros = text.count("SD_BUS_PROPERTY(") + text.count("SD_BUS_METHOD_WITH_ARGS(")
        if macros != len(properties) + len(methods):
            self.wrong.append(f"{file}: a member that this check cannot read")
        return result

    def reached(self, handler: str) -> set[str]:
        """Names of the functions of this floor that a handler may get to; polkit.c itself is no part of it."""
        file, todo, seen = handler.partition(":")[0], [handler], set()
        while todo:
            name = todo.pop()
            if name in seen or name.startswith("polkit"):
                continue
            seen.add(name)
            file = name.partition(":")[0] if ":" in name else next(
                k.partition(":")[0] for k in self.functions if k.endswith(":" + name) and self.functions[k] is self.functions[name])
            for callee in re.findall(r"\b(\w+)\(", self.functions[name]):
                if f"{file}:{callee}" in self.functions:
                    todo.append(f"{file}:{callee}")
                elif callee in self.functions:
                    todo.append(callee)
        return seen


def check_matrix(source: Source) -> list[str]:
    wrong, members = [], set()

    for interface, members_of in source.interfaces.items():
        for name, handler in members_of.handlers.items():
            key = (interface.removeprefix(PREFIX), name)
            members.add(key)
            if key not in MATRIX:
                wrong.append(f"{interface}.{name} is not in the matrix of this test")
                continue

            bodies = [source.functions[f] for f in source.reached(handler)]
            asked = {source.actions[t].removeprefix(PREFIX) for body in bodies for t in re.findall(r"\bPOLKIT_[A-Z_]+\b", body)}
            if asked != MATRIX[key]:
                wrong.append(f"{interface}.{name} asks for {sorted(asked)}, not {sorted(MATRIX[key])}")
            if MATRIX[key] and not any("polkit_authorize(" in body for body in bodies):
                wrong.append(f"{interface}.{name} does not get to polkit_authorize()")
            if MATRIX[key]:
                # The function that asks: the handler itself, or what it hands everything on to.
                body = source.functions[handler]
                if not ASKS.search(body):
                    first = re.search(r"return (\w+)\([^;]*\);\n$", body)
                    body = source.functions.get(first[1], "") if first else ""
                asks, looks = ASKS.search(body), LOOKS.search(body)
                if not asks or (looks and looks.start() < asks.start()):
                    wrong.append(f"{interface}.{name} looks before it asks")

    wrong += [f"{i}.{m} is in the matrix and nowhere else" for i, m in sorted(set(MATRIX) - members)]
    return wrong


def check_xml(root: pathlib.Path, source: Source) -> list[str]:
    wrong = []

    for name, interface in source.interfaces.items():
        file = root / f"dbus/{name}.xml"
        text = file.read_text()
        element = next(i for i in ElementTree.fromstring(text).iter("interface") if i.get("name") == name)
        properties = {}
        for p in element.findall("property"):
            emits = next((a.get("value") for a in p.findall("annotation") if a.get("name") == EMITS), "true")
            properties[p.get("name")] = (p.get("type"), emits)
            if p.get("access") != "read":
                wrong.append(f"{file.name}: {p.get('name')} is not read-only")
        methods = {m.get("name"): tuple(tuple((a.get("type"), a.get("name")) for a in m.findall("arg") if a.get("direction") == d)
                                        for d in ("in", "out")) for m in element.findall("method")}
        wrong += differences(f"dbus/{file.name}", interface, properties, methods)

        # The comment before a method says which actions it asks for; force is among the common options.
        for comment, member in re.findall(r'<!--((?:(?!-->).)*)-->\s*<method name="(\w+)"', text, re.DOTALL):
            said = {a.removeprefix(PREFIX) for line in re.findall(r"polkit: ([^\n]*)", comment)
                    for a in re.findall(r"org\.vhostscsi\.[a-z-]+", line)}
            if said != MATRIX.get((name.removeprefix(PREFIX), member), set()) - {FORCE}:
                wrong.append(f"dbus/{file.name}: {member} documents the actions {sorted(said)}")

    return wrong


def differences(where: str, interface: Interface, properties: dict, methods: dict) -> list[str]:
    wrong = []
    for what, ours, theirs in (("property", interface.properties, properties), ("method", interface.methods, methods)):
        wrong += [f"{where}: {what} {n} is missing" for n in sorted(set(ours) - set(theirs))]
        wrong += [f"{where}: {what} {n} is not in the vtable" for n in sorted(set(theirs) - set(ours))]
        wrong += [f"{where}: {what} {n} is {theirs[n]}, in the vtable {ours[n]}" for n in ours if n in theirs and ours[n] != theirs[n]]
    return wrong


def check_bus_policy(root: pathlib.Path, source: Source) -> list[str]:
    wrong = []
    tree = ElementTree.parse(root / "dbus/org.vhostscsi.conf")
    allowed = set()

    for policy in tree.iter("policy"):
        for rule in policy:
            if rule.tag == "allow" and rule.get("own"):
                if policy.get("user") != "root":
                    wrong.append("org.vhostscsi.conf: somebody else than root may own the name")
            elif rule.tag == "allow":
                if not rule.get("send_interface") or not rule.get("send_member"):
                    wrong.append("org.vhostscsi.conf: a member that is allowed without its name")
                allowed.add((rule.get("send_interface"), rule.get("send_member")))

    first = next(p for p in tree.iter("policy") if p.get("context") == "default")[0]
    if first.tag != "deny" or first.attrib != {"send_destination": "org.vhostscsi"}:
        wrong.append("org.vhostscsi.conf: the default policy does not begin with denying everything")

    members = {(name, m) for name, i in source.interfaces.items() for m in i.methods} | STANDARD
    wrong += [f"org.vhostscsi.conf: {i}.{m} is not allowed" for i, m in sorted(members - allowed)]
    wrong += [f"org.vhostscsi.conf: {i}.{m} is allowed and does not exist" for i, m in sorted(allowed - members)]
    return wrong


def check_polkit(root: pathlib.Path, source: Source) -> list[str]:
    wrong = []
    known = {v for k, v in source.names.items() if k.startswith("ACTION_")}
    listed = {}

    for action in ElementTree.parse(root / "policy/org.vhostscsi.policy").iter("action"):
        listed[action.get("id")] = {d.tag: d.text for d in action.find("defaults")}
        if not action.findtext("message") or not action.findtext("description"):
            wrong.append(f"org.vhostscsi.policy: {action.get('id')} has no message")

    wrong += [f"org.vhostscsi.policy: {a} is missing" for a in sorted(known - set(listed))]
    wrong += [f"org.vhostscsi.policy: {a} is asked for by nobody" for a in sorted(set(listed) - known)]
    wrong += [f"polkit.c: {a} is asked for by nobody" for a in sorted(known - set(source.actions.values()))]
    for action, defaults in listed.items():
        if not all(value in ("no", "auth_admin", "auth_admin_keep") for value in defaults.values()) or len(defaults) != 3:
            wrong.append(f"org.vhostscsi.policy: {action} gives something away by default")
    return wrong


def check_man(root: pathlib.Path, source: Source) -> list[str]:
    wrong = []
    emits = {"const": "const", "not signalled": "false", None: "true"}
    text = (root / "man/org.vhostscsi.5.scd").read_text()
    sections = re.split(r"^# ", text, flags=re.MULTILINE)

    for name, interface in source.interfaces.items():
        section = next((s for s in sections if name in s.partition("\n")[0]), "")
        properties, methods = {}, {}
        for member, kind, how in re.findall(r"^\*(\w+)\* _([^_]+)_(?: \((const|not signalled)\))?$", section, re.MULTILINE):
            properties[member] = (kind, emits[how or None])
        for member, given, returned in re.findall(r"^\*(\w+)\*\((.*?)\)(?: -> (.*))?$", section, re.MULTILINE):
            methods[member] = tuple(tuple(re.findall(r"_([^_]+)_ (\w+)", part)) for part in (given, returned))
        wrong += differences(f"man/org.vhostscsi.5, {name}", interface, properties, methods)

    table = (root / "daemon/engine/refusal.c").read_text()
    errors = set(re.findall(r'VHOSTSCSI_ERROR\("(\w+)"\)', table))
    section = next((s for s in sections if s.startswith("ERRORS")), "")
    told = set(re.findall(r"^\*(\w+)\*$", section, re.MULTILINE))
    wrong += [f"man/org.vhostscsi.5: error {e} is missing" for e in sorted(errors - told)]
    wrong += [f"man/org.vhostscsi.5: there is no error {e}" for e in sorted(told - errors)]
    wrong += [f"man/org.vhostscsi.5: action {a} is missing" for a in sorted(source.actions.values()) if f"*{a}*" not in text]
    return wrong


def main() -> int:
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    source = Source(root)
    wrong = source.wrong + check_matrix(source) + check_xml(root, source)
    wrong += check_bus_policy(root, source) + check_polkit(root, source) + check_man(root, source)

    if set(source.interfaces) != {PREFIX + n for n in ("Manager", "Target", "Lun")}:
        wrong.append(f"daemon/bus: found the interfaces {sorted(source.interfaces)}")

    for line in wrong:
        print(line, file=sys.stderr)
    if not wrong:
        for (interface, member), actions in MATRIX.items():
            print(f"{interface + '.' + member:24} {' '.join(sorted(actions)) or 'everybody'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
