"""Tables: printed, and as Markdown for docs/performance.md. A cell is a text, a number, or a list of measurements."""
import statistics


def number(v):
    if v == 0 or abs(v) >= 100:
        return "{:,.0f}".format(v)
    return "{:.3g}".format(v)


def cell(v):
    """A list is shown as its median and, when there is more than one value, (lowest-highest)."""
    if isinstance(v, str):
        return v
    if not isinstance(v, (list, tuple)):
        return number(v)
    if not v:
        return "-"
    if len(v) == 1:
        return number(v[0])
    return "%s (%s-%s)" % (number(statistics.median(v)), number(min(v)), number(max(v)))


class Table:
    def __init__(self, title, *columns):
        self.title = title
        self.columns = columns
        self.rows = []
        self.notes = []

    def add(self, *cells):
        self.rows.append(list(cells))

    def note(self, text):
        self.notes.append(text)

    def add_floors(self, runs, *names):
        """Floors measured in the same run, as rows: name, per second, mean microseconds. The other columns stay empty."""
        for name in names:
            self.add("floor: " + name, [r[name]["per_second"] for r in runs], [r[name]["mean_us"] for r in runs],
                     *[""] * (len(self.columns) - 3))

    def text(self):
        rows = [[cell(c) for c in r] for r in self.rows]
        widths = [max(len(r[i]) for r in [list(self.columns), *rows]) for i in range(len(self.columns))]
        lines = [self.title]
        for r in [list(self.columns), *rows]:
            lines.append("  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(r, widths))).rstrip())
        return "\n".join(lines + self.notes)

    def markdown(self):
        lines = ["| " + " | ".join(self.columns) + " |", "|---|" + "---:|" * (len(self.columns) - 1)]
        lines += ["| " + " | ".join(cell(c) for c in r) + " |" for r in self.rows]
        return "\n".join([self.title + "\n", *lines, *["\n" + n for n in self.notes]])

    def json(self):
        return {"title": self.title, "columns": self.columns, "rows": self.rows, "notes": self.notes}


def from_json(j):
    t = Table(j["title"], *j["columns"])
    t.rows, t.notes = j["rows"], j["notes"]
    return t
