"""The short form of tests/soak: everything at once for a moment, and nothing may be left of it."""
import os
import subprocess
import sys

from lib import expect


def test_soak_short():
    soak = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "soak", "run")
    r = subprocess.run([sys.executable, soak, "--virtual", "40m", "--real", "20s"], text=True, capture_output=True, timeout=600)
    expect(r.returncode == 0, r.stdout[-6000:], r.stderr[-2000:])
