#!/usr/bin/env python3
"""The references and the source name the same things, both ways: reference.py TOP PAPERS. One line per finding.

- docs/cli.md has each verb of `bide` with its arguments, each verb's options, those of every verb, and bided's; and no other. PAPERS is the
  program that tells them (tools/papers).
- The exit statuses of docs/cli.md are those of the source.
- docs/api.md has each route of api/route.c with its operation, and each error of api/fault.c with its status; and no other.
- The manual pages' sources take options, verbs and settings from the tables.
- Shell scripts pass shellcheck, documents codespell (but for a misspelling that the tour makes on purpose), where these are installed.
"""
import os
import re
import shutil
import subprocess
import sys

TOP, PAPERS = os.path.abspath(sys.argv[1]), sys.argv[2]
findings = []


def read(*path):
    with open(os.path.join(TOP, *path), encoding="utf-8") as f:
        return f.read()


def finding(text, *args):
    findings.append(text % args)


def compare(where, documented, there):
    """Sets of text, or dictionaries of what is said of each."""
    for x in there:
        if x not in documented:
            finding("%s: missing: %s", where, x)
        elif isinstance(there, dict) and documented[x] != there[x]:
            finding("%s: %s: %s, in the source %s", where, x, documented[x], there[x])
    for x in documented:
        if x not in there:
            finding("%s: the source has no: %s", where, x)


def sections(text, level):
    """Heading -> what follows it, up to the next heading of that level or above."""
    parts = re.split(r"^(#{2,%d}) (.+)\n" % level, re.sub(r"^```.*?^```\n", "", text, flags=re.M | re.S), flags=re.M)
    return {parts[i + 1]: parts[i + 2] for i in range(1, len(parts), 3)}


def options_of(text):
    return set(re.findall(r"^- `(--[^`]+)`", text, re.M))


def check_cli():
    there = {}
    for line in subprocess.run([PAPERS, "options"], check=True, capture_output=True, text=True).stdout.splitlines():
        verb, _, option = line.partition("\t")
        there.setdefault(verb, set()).update([option] if option else [])
    documented = {head: options_of(body) for head, body in sections(read("docs", "cli.md"), 3).items() if re.match("bided?( |$)", head)}
    compare("docs/cli.md: verbs", documented.keys(), there.keys())
    for verb in documented.keys() & there.keys():
        compare("docs/cli.md: " + verb, documented[verb], there[verb])


def check_exit_statuses():
    """0, 1 and 2 of bide; those of bided by the names of the source."""
    rows = [dict(re.findall(r"^\| ([0-9]+) \| (.+) \|$", part, re.M)) for part in read("docs", "cli.md").split("| exit status | |\n")[1:]]
    sources = [["tools/bide/cmd.h", "tools/bide/opts.h"], ["tools/bided/engine.h", "tools/bided/engine.c", "tools/bided/options.h", "executor/box/box.h"]]
    if len(rows) != len(sources):
        finding("docs/cli.md: %d tables of exit statuses, not %d", len(rows), len(sources))
        return
    for table, paths in zip(rows, sources):
        there = {"0"}
        for path in paths:
            text = re.sub(r"EXIT_DONE = 0", "", read(*path.split("/")))
            there.update(re.findall(r"\b(?:BOX_)?EXIT_[A-Z_]+ = ([0-9]+)", text))
        compare("docs/cli.md: exit status", set(table), there)


def check_routes():
    rows = re.findall(r'\{\s*HTTP1_([A-Z]+),\s*"([^"]+)",\s*\w+,\s*[^"]*?,\s*"(\w+)"\}', read("api", "route.c"), re.S)
    if len(rows) != read("api", "route.c").count("{HTTP1_"):
        finding("api/route.c: %d rows were read of %d", len(rows), read("api", "route.c").count("{HTTP1_"))
    there = {"%s %s" % (method, path): operation for method, path, operation in rows}
    documented = {}
    for head, body in sections(read("docs", "api.md"), 3).items():
        if re.match("(GET|POST|PUT|DELETE|PATCH) ", head):
            operation = re.match(r"\s*\*\*(\w+)\.\*\*", body)
            documented[re.sub(r"\{\w+\}", "{}", head)] = operation.group(1) if operation else "not said"
    compare("docs/api.md: routes", documented, there)


def check_errors():
    there = dict(re.findall(r'\[FAULT_\w+\] = \{"(\w+)", (\d+),', read("api", "fault.c")))
    errors = sections(read("docs", "api.md"), 2).get("Errors", "")
    compare("docs/api.md: errors", dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", errors, re.M)), there)


def check_manual():
    for page, marks in (("bide.1", ("@bide-options@", "@verbs@")), ("bided.8", ("@bided-options@",)), ("bide.conf.5", ("@settings@",))):
        text = read("docs", "man", page + ".scd")
        for mark in marks:
            if "\n%s\n" % mark not in text:
                finding("docs/man/%s.scd: %s is gone: its part would not be made from the table", page, mark)


def tracked():
    for folder, folders, names in os.walk(TOP):
        folders[:] = [d for d in folders if d not in (".git", "build", "__pycache__", "node_modules") and not d.startswith("build-")]
        for name in names:
            yield os.path.join(folder, name)


def check_scripts():
    scripts = []
    for path in tracked():
        with open(path, "rb") as f:
            if re.match(rb"#! ?(/usr)?/bin/(env )?(ba)?sh\b", f.read(40)):
                scripts.append(path)
    if shutil.which("shellcheck"):
        r = subprocess.run(["shellcheck", "-f", "gcc", *sorted(scripts)], capture_output=True, text=True)
        findings.extend(line.replace(TOP + "/", "") for line in r.stdout.splitlines())


def check_spelling():
    if shutil.which("codespell"):
        texts = sorted(p for p in tracked() if p.endswith((".md", ".scd")))
        r = subprocess.run(["codespell", "-q", "3", "-L", "nmae", *texts], capture_output=True, text=True)
        findings.extend(line.replace(TOP + "/", "") for line in r.stdout.splitlines() if "==>" in line)


def main():
    check_cli()
    check_exit_statuses()
    check_routes()
    check_errors()
    check_manual()
    check_scripts()
    check_spelling()
    for f in findings:
        print(f)
    print("reference: %d finding%s" % (len(findings), "" if len(findings) == 1 else "s"))
    return 1 if findings else 0


sys.exit(main())
