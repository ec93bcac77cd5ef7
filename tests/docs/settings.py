#!/usr/bin/env python3
"""The table of docs/settings.md is the one that the program prints. settings.py check|write PROGRAM FILE."""
import subprocess
import sys

BEGIN, END = "<!-- begin: made by `cmake --build DIR --target docs-settings` -->\n", "<!-- end -->\n"


def main():
    what, program, path = sys.argv[1:]
    table = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    with open(path, encoding="utf-8") as f:
        text = f.read()
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        print("%s: the markers are gone: %s%s" % (path, BEGIN, END))
        return 1
    made = head + BEGIN + table + END + tail
    if what == "write" and made != text:
        with open(path, "w", encoding="utf-8") as f:
            f.write(made)
    elif made != text:
        print("%s is not what base/settings.c says; build the target docs-settings" % path)
        return 1
    return 0


sys.exit(main())
