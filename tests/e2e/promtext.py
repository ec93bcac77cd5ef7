"""A strict reader of Prometheus' text form (version 0.0.4): what a scrape must not contain is an error here."""
import re

from lib import expect

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LINE = re.compile(r"(%s)(?:\{(.*)\})? (-?[0-9]+(?:\.[0-9]+)?)" % NAME)
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')
ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


def labels_of(text, line):
    found, at = [], 0
    while at < len(text):
        m = LABEL.match(text, at)
        expect(m, "labels of", line)
        found.append((m.group(1), re.sub(r"\\[\\\"n]", lambda e: ESCAPES[e.group()], m.group(2))))
        at = m.end()
    expect(len(dict(found)) == len(found), "a label twice:", line)
    return found


def check_histogram(name, samples):
    """Every group of labels: rising bounds, rising counts, +Inf equal to _count, a _sum."""
    groups = {}
    for (sample, labels), value in samples.items():
        key = tuple(l for l in labels if l[0] != "le")
        g = groups.setdefault(key, {"bucket": []})
        kind = sample[len(name) + 1:]
        expect(kind in ("bucket", "sum", "count"), "a histogram's sample", sample)
        if kind == "bucket":
            g["bucket"].append((dict(labels)["le"], value))
        else:
            g[kind] = value
    for key, g in groups.items():
        bounds = [float(b) for b, _ in g["bucket"]]
        counts = [c for _, c in g["bucket"]]
        expect(bounds == sorted(set(bounds)) and bounds[-1] == float("inf"), name, key, "bounds", bounds)
        expect(counts == sorted(counts), name, key, "counts", counts)
        expect(g["count"] == counts[-1] and "sum" in g, name, key, g)
        expect((g["sum"] == 0) or g["count"] > 0, name, key, "a sum of nothing")


class Scrape:
    """families: name -> (kind, help); value("name", label="x") is one sample."""

    def __init__(self, text):
        self.families, self.samples, family = {}, {}, None
        expect(text.endswith("\n") and "\r" not in text)
        lines = text[:-1].split("\n")
        for n, line in enumerate(lines):
            if line.startswith("# HELP "):
                name, help_text = re.fullmatch("# HELP (%s) (.+)" % NAME, line).groups()
                kind = re.fullmatch("# TYPE %s (counter|gauge|histogram)" % name, lines[n + 1])
                expect(kind and name not in self.families, "HELP, then TYPE, once:", line)
                family = name
                self.families[name] = (kind.group(1), help_text)
                expect((kind.group(1) == "counter") == name.endswith("_total"), "the name of", name)
            elif not line.startswith("# TYPE "):
                m = LINE.fullmatch(line)
                expect(m, "not a sample:", line)
                name, labels = m.group(1), tuple(labels_of(m.group(2) or "", line))
                kind = self.families[family][0]
                expect(name == family or kind == "histogram" and name.startswith(family + "_"), line, "among", family)
                expect((name, frozenset(labels)) not in self.samples, "twice:", line)
                self.samples[name, frozenset(labels)] = float(m.group(3))
                expect(kind != "counter" or float(m.group(3)) >= 0, line)
        for name, (kind, _) in self.families.items():
            if kind == "histogram":
                check_histogram(name, {k: v for k, v in self.samples.items() if k[0].startswith(name + "_")})

    def value(self, name, **labels):
        key = (name, frozenset(labels.items()))
        expect(key in self.samples, "no sample", name, labels)
        return self.samples[key]

    def all(self, name, **labels):
        """Every sample of that name that has these labels: the other labels -> value."""
        want = set(labels.items())
        return {k[1] - want: v for k, v in self.samples.items() if k[0] == name and want <= k[1]}

    def total(self, name, **labels):
        return sum(self.all(name, **labels).values())
