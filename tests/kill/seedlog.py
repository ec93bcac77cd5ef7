"""Lines for the seed log in docs/reliability.md."""
import datetime
import os
import subprocess

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGE = os.path.join(TOP, "docs", "reliability.md")


def git(*words):
    return subprocess.run(["git", "-C", TOP, *words], text=True, capture_output=True, check=False)


def commit():
    """Of the source; with a + when it is changed, but for the page with the log."""
    changed = git("diff", "--quiet", "HEAD", "--", ".", ":!docs/reliability.md").returncode != 0
    return git("rev-parse", "--short=10", "HEAD").stdout.strip() + ("+" if changed else "")


def today():
    return datetime.date.today().isoformat()


def add(table, row):
    """The row becomes the last of the table that ends with this mark."""
    mark = "<!-- end of the %s -->\n" % table
    with open(PAGE, encoding="utf-8") as f:
        text = f.read()
    if text.count(mark) != 1:
        raise SystemExit("docs/reliability.md has no line " + mark.strip())
    with open(PAGE, "w", encoding="utf-8") as f:
        f.write(text.replace(mark, row + mark))
