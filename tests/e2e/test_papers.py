"""The documents that are to be followed: every command as printed there."""
import os
import shutil
import tempfile

import papers
from lib import Bided


def follow(name, *sets, heading=None, first=()):
    with Bided(*sets) as b, tempfile.TemporaryDirectory(dir="/var/tmp") as d:
        shutil.copytree(os.path.join(papers.TOP, "examples"), os.path.join(d, "examples"))
        if first:
            b.bide(*first)
        papers.run(os.path.join(papers.TOP, name), d, {"BIDE_DATA": b.data, "HOME": d}, heading)


def test_getting_started():
    follow("docs/getting-started.md", "async.retry_first_wait=1s")


def test_retries_and_concurrency():
    follow("docs/retries-and-concurrency.md", "clock=virtual")


def test_coming_from():
    follow("docs/coming-from.md")


def test_faq():
    follow("docs/faq.md")


def test_cli():
    follow("docs/cli.md")


def test_readme_clients():
    orders = ("deploy", os.path.join(papers.TOP, "examples", "orders"), "--name", "orders", "--runtime", "python3.12",
              "--handler", "app.handler")
    follow("README.md", heading="AWS CLI, boto3, other SDKs", first=orders)
