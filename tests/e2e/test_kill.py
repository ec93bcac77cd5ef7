"""The short form of tests/kill: killed again and again, nothing lost; and what is lost on purpose is found."""
import os
import subprocess
import sys

from lib import expect

HERE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "kill")


def kill(*words, program="run"):
    r = subprocess.run([sys.executable, os.path.join(HERE, program), *words], text=True, capture_output=True, timeout=600)
    expect(r.returncode == 0, words, r.stdout[-4000:], r.stderr[-2000:])
    return r.stdout


def test_kill_short():
    out = kill("--cycles", os.environ.get("BIDE_KILL_CYCLES", "40"))
    print("     " + out.splitlines()[-1])


def test_kill_controls():
    """The harness is not blind: a lost event is seen."""
    for control in ("drop", "rollback"):
        kill("--cycles", "30", "--control", control)


def test_kill_points():
    """Some of the points of each phase of bided's life."""
    print("     " + kill("--stride", os.environ.get("BIDE_KILL_STRIDE", "60"), program="points").splitlines()[-1])
