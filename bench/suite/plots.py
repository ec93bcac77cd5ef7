"""Plots of what bench/run peers left in build/bench/results/, by gnuplot, as SVG without a background and in middle greys: they are read
on white and on black."""
import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile

from suite import paths

FOLDER = os.path.join(paths.TOP, "docs", "plots")
MARKDOWN = "\n".join("![%s](plots/%s.svg)" % p for p in (
    ("Durable accepts per second", "accept"), ("The same in batches of 64", "batch"), ("Accept to done, jobs per second", "endtoend")))
OURS, THEIRS, INK, SPAN = "#2f81c7", "#a3a3a3", "#808080", "#696969"
STYLE = """set terminal svg size %(width)d,%(height)d font "sans-serif,12"
set output "%(out)s"
set multiplot layout 1,%(panels)d title "%(title)s" textcolor rgb "%(ink)s"
set border 1 linecolor rgb "%(ink)s"
unset ytics
set xtics scale 0 nomirror rotate by -35 textcolor rgb "%(ink)s"
set style fill solid 1 noborder
set boxwidth 0.7
set bmargin %(below)g
set rmargin %(beside)g
unset key
"""
# The bar is the median, the line across its end goes from the lowest to the highest, the number is the median.
PANEL = """set title "%(title)s" textcolor rgb "%(ink)s"
plot [-0.6:%(to)g] [0:%(top)g] $panel%(n)d using 0:2:($5 > 0 ? 0x%(ours)s : 0x%(theirs)s):xtic(1) with boxes linecolor rgb variable, \\
  "" using 0:3:(0):($4 - $3) with vectors nohead linewidth 1.5 linecolor rgb "%(span)s", \\
  "" using 0:4:6 with labels offset 0,0.7 textcolor rgb "%(ink)s"
"""


def short(rate):
    return "%.3g" % rate if rate < 1000 else "%.3gk" % (rate / 1000)


def draw(out, title, panels):
    """panels: title -> rows of name and measured rates."""
    names = [name for rows in panels.values() for name, _ in rows]
    longest, last = max(map(len, names)), max(len(rows[-1][0]) for rows in panels.values())
    text = STYLE % {"width": (45 * max(map(len, panels.values())) + 6 * last + 30) * len(panels), "height": 230 + 5 * longest, "out": out,
                    "panels": len(panels), "title": title, "ink": INK, "below": 2 + 0.27 * longest, "beside": 0.7 * last}
    for n, (name, rows) in enumerate(panels.items()):
        text = "$panel%d << EOD\n%s\nEOD\n" % (n, "\n".join('"%s" %g %g %g %d %s' % (
            row, statistics.median(got), min(got), max(got), row.startswith("bided"), short(statistics.median(got))) for row, got in rows)) + text
        text += PANEL % {"title": name, "n": n, "to": len(rows) - 0.4, "top": 1.12 * max(max(got) for _, got in rows),
                         "ink": INK, "span": SPAN, "ours": OURS[1:], "theirs": THEIRS[1:]}
    with tempfile.NamedTemporaryFile("w", suffix=".gp") as f:
        f.write(text + "unset multiplot\n")
        f.flush()
        said = subprocess.run(["gnuplot", f.name], capture_output=True, text=True)
        if said.returncode != 0:
            raise SystemExit("bench/run: gnuplot: " + said.stderr)
    with open(out) as f:
        svg = slim(f.read())
    with open(out, "w") as f:
        f.write(svg)


def slim(svg):
    """Without what draws nothing: half of the file."""
    svg = re.sub(r"<(defs|desc|title)>.*?</\1>|<use [^>]*>", "", svg, flags=re.S)
    was = None
    while svg != was:
        was, svg = svg, re.sub(r"<(g|a)\b[^>]*>\s*</\1>", "", svg)
    return re.sub(r"\s*\n\s*", "\n", svg)


def measured(table):
    """Rows that are figures: not those which say why there are none, and no floors."""
    return [r for r in table["rows"] if isinstance(r[1], list) and r[1] and not r[0].startswith("floor")]


def panels_of(accept, batch, through):
    kinds = {}
    for row in measured(accept):
        where, name = row[0].split(", ", 1)
        kinds.setdefault(where, []).append((name, row[1]))
    yield "accept", "Durable accepts per second", kinds
    yield "batch", "Durable accepts per second, batches of 64", {"16 connections": [(r[0], r[1]) for r in measured(batch)]}
    yield "endtoend", "Accept to done, jobs per second", {
        "%s connections" % c: [(r[0], r[i]) for r in measured(through) if r[i]] for i, c in enumerate(through["columns"]) if i > 0}


def all_of(results):
    """Draws what there are results of; the paths."""
    path = os.path.join(results, "peers.json")
    if not os.path.exists(path) or not shutil.which("gnuplot"):
        raise SystemExit("bench/run: plots need %s, which bench/run peers writes, and gnuplot (tools/install-deps --bench)" % path)
    with open(path) as f:
        tables = json.load(f)["tables"]
    os.makedirs(FOLDER, exist_ok=True)
    done = []
    for leaf, title, panels in panels_of(*tables[:3]):
        done.append(os.path.join(FOLDER, leaf + ".svg"))
        draw(done[-1], title, panels)
    return done
