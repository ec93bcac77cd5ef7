"""The documents that are to be followed: every command as printed there."""
import os
import shutil
import tempfile

import papers
from lib import Bided


def follow(name, *sets):
    with Bided(*sets) as b, tempfile.TemporaryDirectory(dir="/var/tmp") as d:
        shutil.copytree(os.path.join(papers.TOP, "examples"), os.path.join(d, "examples"))
        papers.run(os.path.join(papers.TOP, name), d, {"BIDE_DATA": b.data, "HOME": d})


def test_getting_started():
    follow("docs/getting-started.md", "async.retry_first_wait=1s")


def test_retries_and_concurrency():
    follow("docs/retries-and-concurrency.md", "clock=virtual")


def test_coming_from():
    follow("docs/coming-from.md")


def test_faq():
    follow("docs/faq.md")
