"""The documents that are to be followed: every command as printed there."""
import os
import shutil
import tempfile

import papers
from lib import Bided, Failed, expect


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


def test_handlers():
    follow("docs/handlers.md")


def test_http():
    follow("docs/api.md")
    follow("docs/operations.md")


def test_readme_clients():
    orders = ("deploy", os.path.join(papers.TOP, "examples", "orders"), "--name", "orders", "--runtime", "python3.12",
              "--handler", "app.handler")
    follow("README.md", heading="AWS CLI, boto3, other SDKs", first=orders)


def refused(folder, text):
    path = os.path.join(folder, "paper.md")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    try:
        papers.run(path, folder, {})
    except Failed as e:
        return str(e)
    return None


def test_the_follower_itself():
    with tempfile.TemporaryDirectory(dir="/var/tmp") as d:
        said = "```sh\necho one; echo two; echo three\n```\n\n```text\n%s\n```\n"
        for shown in ("one\ntwo\nthree", "one\n...\nthree", "...\none\ntwo\nthree\n...", "o...\ntwo\nth...e"):
            expect(refused(d, said % shown) is None, shown)
        for shown in ("one\ntwo", "two\n...", "one\n...\ntwo", "one two three"):
            expect("and not:" in (refused(d, said % shown) or ""), shown)
        expect("block 2 of 2" in (refused(d, "```sh\na=1\n```\n\n```sh\n[ $a = 2 ]\n```\n") or ""), "a command that fails")
        expect(refused(d, "```sh by-hand\nfalse\n```\n\n```sh\ntrue\n```\n") is None, "what is done by hand")
        expect("no commands" in (refused(d, "prose\n") or ""), "nothing to follow")
        one = "0198c0de-0000-7000-8000-000000000001 2026-11-25 03:38:58.794 (12 ms)"
        expect(papers.matches("ID TIME (N ms)", one) and papers.matches(one, one.replace("1 2026", "2 2027")), one)
