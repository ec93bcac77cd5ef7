"""The examples' pages: every command as printed there, in a copy of the folder."""
import os
import shutil
import tempfile

import papers
from lib import Bided

EXAMPLES = os.path.join(papers.TOP, "examples")


def follow(name):
    with tempfile.TemporaryDirectory(dir="/var/tmp") as d:
        folder = os.path.join(d, "examples")
        shutil.copytree(EXAMPLES, folder)
        with Bided(config=os.path.join(EXAMPLES, "bide.conf")) as b:
            papers.run(os.path.join(EXAMPLES, name, "README.md"), folder, {"BIDE_DATA": b.data})


def test_thumbnailer():
    follow("thumbnailer")


def test_pipeline():
    follow("pipeline")


def test_webhook_relay():
    follow("webhook-relay")


def test_shell_job():
    follow("shell-job")
