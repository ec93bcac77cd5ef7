"""The documents that are to be followed: every command as printed there."""
import os
import tempfile

import papers
from lib import Bided


def follow(name, *sets):
    with Bided(*sets) as b, tempfile.TemporaryDirectory(dir="/var/tmp") as d:
        papers.run(os.path.join(papers.TOP, name), d, {"BIDE_DATA": b.data, "HOME": d})


def test_getting_started():
    follow("docs/getting-started.md", "async.retry_first_wait=1s")
