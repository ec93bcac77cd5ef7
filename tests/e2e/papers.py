"""Runs the commands of a document as it prints them, and compares what they print.

A block ```sh is run, all blocks of a document in one shell; ```sh by-hand is not (it installs things, or starts the
daemon). A block ```text that is the next one after a ```sh block is that block's output, stdout and stderr: ids are written
ID, points in time TIME, durations N ms; "..." stands for any text, alone on a line for any number of lines.
"""
import os
import re
import signal
import subprocess
import sys

from lib import PREFIX, Failed

TOP = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
FENCE = re.compile(r"^```(\w*) ?([\w-]*)\n(.*?)^```$", re.M | re.S)
FORMS = (
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?Z?"), "TIME"),
    (re.compile(r"\b\d+(\.\d+)? ms\b"), "N ms"),
)


def blocks(path, heading=None):
    """The commands of each block that is run, and the output that the document shows for it or None; of the whole document,
    or below one of its second-level headings."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    if heading:
        text = text.split("\n## %s\n" % heading, 1)[1].split("\n## ", 1)[0]
    found = FENCE.findall(text)
    made = []
    for i, (kind, more, text) in enumerate(found):
        if kind == "sh" and not more:
            after = found[i + 1] if i + 1 < len(found) else ("", "", "")
            made.append((text, after[2] if after[0] == "text" else None))
    return made


def general(text):
    for form, word in FORMS:
        text = form.sub(word, text)
    return "\n".join(line.rstrip() for line in text.strip("\n").split("\n"))


def matches(shown, got):
    pattern = ""
    for line in general(shown).split("\n"):
        if line == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*".join(re.escape(part) for part in line.split("...")) + "\n"
    return re.fullmatch(pattern, general(got) + "\n") is not None


def run(path, folder, env, heading=None, limit=300):
    """Run the document's blocks in folder. Failed, with what was printed, when one fails or prints something else."""
    found = blocks(path, heading)
    if not found:
        raise Failed("%s: no commands" % path)
    out = [os.path.join(folder, ".out-%d" % i) for i in range(len(found))]
    script = "set -eu\n" + "".join("exec >%s 2>&1\n%s\n" % (o, text) for o, (text, _) in zip(out, found))
    env = dict(os.environ, PATH=PREFIX + "/bin:" + os.path.dirname(sys.executable) + ":" + os.environ["PATH"], **env)
    p = subprocess.Popen(["sh", "-c", script], cwd=folder, env=env, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        status = p.wait(limit)
    except subprocess.TimeoutExpired:
        status = "after %d s still running" % limit
    finally:
        try:
            os.killpg(p.pid, signal.SIGKILL)  # what the document left running
        except ProcessLookupError:
            pass
        p.wait()
    name = os.path.relpath(path, TOP)
    got = []
    for o in out:
        if os.path.exists(o):
            with open(o, encoding="utf-8", errors="replace") as f:
                got.append(f.read())
    if status != 0:
        raise Failed("%s: block %d of %d: %s\n%s\nprinted:\n%s" % (name, len(got), len(found), status, found[len(got) - 1][0], got[-1]))
    for (text, shown), printed in zip(found, got):
        if shown is not None and not matches(shown, printed):
            raise Failed("%s:\n%s\nprinted:\n%s\nand not:\n%s" % (name, text, general(printed), general(shown)))
