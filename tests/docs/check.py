#!/usr/bin/env python3
"""The documents agree with the source. check.py [TOP]; exit status 1 and one line per finding.

- docs/settings.md has one row for each key of the table in base/settings.c and no other, with its default (that it is the
  generated table is the test docs_settings).
- Every constant and setting that docs/limits.md names is there.
- Every relative link of every tracked *.md leads to a file, and to a heading when it names one.
- docs/operations.md has one row for each metric of the table in api/metrics.c and no other, of its kind.
- examples/monitoring/alerts.yml has one rule for each alert that docs/operations.md explains and no other; both, and
  dashboard.json beside it, name metrics and labels that are there.
- README.md names the two commands, and every verb of `bide` that it or the quick start uses exists.
- The newest version of CHANGELOG.md is the project's.
"""
import json
import os
import re
import sys

TOP = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..", ".."))
SKIPPED = {".git", "build", "__pycache__"}
findings = []


def read(*path):
    with open(os.path.join(TOP, *path), encoding="utf-8") as f:
        return f.read()


def finding(text, *args):
    findings.append(text % args)


def files(*endings):
    for folder, folders, names in os.walk(TOP):
        folders[:] = sorted(d for d in folders if d not in SKIPPED and not d.startswith("build-"))
        for name in sorted(names):
            if name.endswith(endings):
                yield os.path.relpath(os.path.join(folder, name), TOP)


def settings():
    """Key -> default, from the source's table."""
    row = re.compile(r'\[SET_\w+\] =\s*\{\s*"([^"]+)",\s*SETTING_\w+,\s*"([^"]*)"')
    found = dict(row.findall(read("base", "settings.c")))
    ids = re.search(r"enum setting \{(.*?)SETTING_COUNT", read("base", "settings.h"), re.S).group(1)
    ids = re.findall(r"\bSET_\w+", re.sub(r"/\*.*?\*/", "", ids, flags=re.S))
    if len(ids) != len(found):
        finding("base/settings.c: %d rows were read of %d settings", len(found), len(ids))
    return found


def check_settings(table):
    rows = re.findall(r"^\| `([a-z._]+)` \| ([^|]+) \| [^|]+ \| [^|]+ \| [^|]+ \|$", read("docs", "settings.md"), re.M)
    documented = {key: default.strip().replace("`", "") for key, default in rows}
    if len(documented) != len(rows):
        finding("docs/settings.md: a setting has two rows")
    for key, default in table.items():
        if key not in documented:
            finding("docs/settings.md: %s is missing", key)
        elif documented[key] != default:
            finding("docs/settings.md: %s: default %s, in the source %s", key, documented[key], default)
    for key in documented:
        if key not in table:
            finding("docs/settings.md: there is no setting %s", key)


def check_limits(table):
    words = set()
    for path in files(".c", ".h"):
        if not path.startswith("tests" + os.sep):
            words.update(re.findall(r"\w+", read(path)))
    text = read("docs", "limits.md")
    for name in re.findall(r"`([A-Z][A-Z0-9_]+)`", text):
        if name not in words:
            finding("docs/limits.md: the source has no %s", name)
    for name in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", text):
        if name not in words:
            finding("docs/limits.md: the source has no %s", name)
    for key in re.findall(r"setting `([^`]+)`", text):
        if key not in table:
            finding("docs/limits.md: there is no setting %s", key)


def metrics_table():
    """Name -> kind, from the source's table."""
    rows = re.findall(r"^ *\[METRIC_\w+\] =\s*\{\s*\"(\w+)\",\s*METRICS_(\w+),", read("api", "metrics.c"), re.M)
    table = {name: kind.lower() for name, kind in rows}
    ids = re.search(r"enum metric \{(.*?)METRICS\n", read("api", "metrics.h"), re.S).group(1)
    if len(table) != len(re.findall(r"\bMETRIC_\w+,", ids)):
        finding("api/metrics.c: %d rows were read, the enumeration has others", len(table))
    return table


def check_metrics(table):
    rows = re.findall(r"^\| `((?:bide|process)_\w+)` \| (\w+) \|", read("docs", "operations.md"), re.M)
    documented = dict(rows)
    if len(documented) != len(rows):
        finding("docs/operations.md: a metric has two rows")
    for name in sorted(set(table) | set(documented)):
        if table.get(name) != documented.get(name):
            finding("docs/operations.md: %s: %s, in the source %s", name, documented.get(name, "missing"), table.get(name, "missing"))


def check_expression(where, text, table, labels):
    """Metrics and labels that a query names are there; of a histogram, its buckets, sum and count."""
    for metric, ending, selector in re.findall(r"\b((?:bide|process)_\w+?)(_bucket|_sum|_count)?\b(?:\{([^}]*)\})?", text):
        known = metric if metric + ending not in table else metric + ending
        if known not in table or ((table[known] == "histogram") != (known == metric and ending != "")):
            finding("%s: there is no metric %s%s", where, metric, ending)
        for label in re.findall(r"(\w+)=", selector):
            if label not in labels.get(known, ()) and label != "instance":
                finding("%s: %s has no label %s", where, known, label)


def check_alerts(table):
    """Every rule has its heading, every heading its rule, and what the rules and the text name is there."""
    text = read("docs", "operations.md")
    rules = read("examples", "monitoring", "alerts.yml")
    headings = re.findall(r"^### (Bide\w+)$", text, re.M)
    names = re.findall(r"^      - alert: (\w+)$", rules, re.M)
    if len(set(names)) != len(names) or len(names) != rules.count("alert:"):
        finding("examples/monitoring/alerts.yml: an alert has two rules, or is not where the others are")
    for name in sorted(set(names) ^ set(headings)):
        finding("%s: has no %s", name, "heading in docs/operations.md" if name in names else "rule in examples/monitoring/alerts.yml")
    labels = {m: set(re.findall(r"`(\w+)`", l)) for m, l in re.findall(r"^\| `(\w+)` \| \w+ \| ([^|]*)\|", text, re.M)}
    for rule in re.split(r"^      - alert: ", rules, flags=re.M)[1:]:
        name = rule.split("\n")[0]
        if not re.search(r"\n        expr: \S[\s\S]*\n        labels: \{severity: (page|ticket)\}\n        annotations: \{summary: \".+\"\}\n", rule):
            finding("examples/monitoring/alerts.yml: %s lacks expr, severity or summary, or has them in another order", name)
        check_expression("examples/monitoring/alerts.yml: " + name, rule, table, labels)
    for panel in json.loads(read("examples", "monitoring", "dashboard.json"))["panels"]:
        for target in panel["targets"]:
            check_expression("examples/monitoring/dashboard.json: " + panel["title"], target["expr"], table, labels)
    for metric in re.findall(r"`((?:bide|process)_\w+)`", text):
        if metric not in table:
            finding("docs/operations.md: there is no metric %s", metric)


def anchors(text):
    """The headings' anchors, as the usual renderers make them."""
    heads = re.findall(r"^#+ +(.+?) *$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", h)).lower().replace(" ", "-") for h in heads}


def check_links():
    for path in files(".md"):
        text = re.sub(r"^```.*?^```", "", read(path), flags=re.M | re.S)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            to = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
            if not os.path.exists(os.path.join(TOP, to)):
                finding("%s: the link %s leads nowhere", path, target)
            elif anchor and to.endswith(".md") and anchor not in anchors(read(to)):
                finding("%s: %s has no heading %s", path, to, anchor)


def check_readme():
    text = read("README.md")
    first = text.split("\n## ", 1)[0]
    block = re.search(r"^```sh\n(.*?)^```", first, re.M | re.S)
    commands = [line.split("#")[0].strip() for line in block.group(1).splitlines()] if block else []
    if commands != ["tools/quickstart", "tests/run"]:
        finding("README.md: the first block is not tools/quickstart and tests/run but %s", commands)
    for c in ("tools/quickstart", "tests/run"):
        if not os.access(os.path.join(TOP, c), os.X_OK):
            finding("%s cannot be executed", c)
    verbs = set(re.findall(r'^    \{"([a-z ]+)", "[^"]*", "', read("tools", "bide", "cmd.c"), re.M))
    if not verbs:
        finding("tools/bide/cmd.c: no verb was read")
    shell = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)) + read("tools", "quickstart")
    for words in re.findall(r"(?:^|[\s(])bide ((?:[a-z]+ ?){1,2})", re.sub(r"#.*|^say .*", "", shell, flags=re.M), re.M):
        two = words.split()
        if " ".join(two) not in verbs and two[0] not in verbs:
            finding("a document or the quick start uses a verb that is not there: bide %s", " ".join(two))


def check_version():
    version = re.search(r"project\(bide VERSION ([0-9.]+)", read("CMakeLists.txt")).group(1)
    newest = re.search(r"^## \[?([0-9]+\.[0-9.]+[0-9])", read("CHANGELOG.md"), re.M)
    if newest is None or newest.group(1) != version:
        finding("CHANGELOG.md: its newest version is not %s", version)


def main():
    table = settings()
    check_settings(table)
    check_limits(table)
    metrics = metrics_table()
    check_metrics(metrics)
    check_alerts(metrics)
    check_links()
    check_readme()
    check_version()
    for f in findings:
        print(f)
    print("docs: %d finding%s" % (len(findings), "" if len(findings) == 1 else "s"))
    return 1 if findings else 0


sys.exit(main())
