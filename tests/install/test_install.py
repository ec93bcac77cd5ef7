#!/usr/bin/env python3
"""What `cmake --install` and cpack make, used as a user would: test_install.py BUILD_DIR [NAME...].

Each test_* function has a folder of its own; nothing outside it is touched. What this machine cannot do is said and skipped, or a
failure with BIDE_SANDBOX_MUST_WORK=1.
"""
import glob
import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

BUILD = os.path.abspath(sys.argv[1])
CODE = "def handler(event, context):\n    return {'got': event}\n"


class Skip(Exception):
    pass


def run(*words, check=True, **kw):
    kw.setdefault("timeout", 300)
    r = subprocess.run(list(words), text=True, capture_output=True, **kw)
    if check and r.returncode:
        raise AssertionError("%s: exit %d\n%s%s" % (" ".join(words), r.returncode, r.stdout[-2000:], r.stderr[-2000:]))
    return r


def need(*programs):
    for p in programs:
        if shutil.which(p) is None:
            raise Skip("there is no " + p)


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as f:
        return f.read()


def install(folder, prefix="/opt/bide"):
    """Staged by DESTDIR; where the prefix came to be."""
    run("cmake", "--install", BUILD, "--prefix", prefix, env={**os.environ, "DESTDIR": folder})
    return folder + prefix


def serve_and_invoke(prefix, folder, before=(), done=5):
    """bided by hand, a function deployed and called with bide alone."""
    data = folder + "/data"
    os.makedirs(folder + "/code", exist_ok=True)
    with open(folder + "/code/app.py", "w") as f:
        f.write(CODE)
    with open(folder + "/log", "wb") as log:
        p = subprocess.Popen([*before, prefix + "/bin/bided", "--data", data, "--listen", "127.0.0.1:0"], stdout=log, stderr=log,
                             stdin=subprocess.DEVNULL)
    bide = [prefix + "/bin/bide", "--data", data]
    try:
        end = time.monotonic() + 60
        while not os.path.exists(data + "/endpoint"):
            assert p.poll() is None and time.monotonic() < end, read(folder, "log")
            time.sleep(0.02)
        run(*bide, "deploy", folder + "/code", "--name", "f")
        got = run(*bide, "invoke", "f", "--payload", '{"n": 1}').stdout
        assert got == '{"got": {"n": 1}}\n', got
        run(*bide, "invoke", "f", "--count", "5")
        run(*bide, "wait")
        assert '"done":%d,' % done in run(*bide, "status", "--json").stdout.replace(" ", "")
        p.terminate()
        assert p.wait(60) == 0, read(folder, "log")
        assert run(*bide, "verify").stdout == "verify: holds\n"
    finally:
        if p.poll() is None:
            p.kill()
            p.wait()


def test_moved(folder):
    """Installed, moved somewhere else, and used from there."""
    prefix = install(folder)
    moved = folder + "/elsewhere/deeper"
    os.makedirs(os.path.dirname(moved))
    os.rename(prefix, moved)
    for name in ("bin/bide", "bin/bided", "libexec/bide/bide-init", "libexec/bide/runtimes/python3/manifest",
                 "libexec/bide/runtimes/exec/bootstrap", "etc/bide/bide.conf",
                 "share/bash-completion/completions/bide", "lib/systemd/system/bide.service", "share/doc/bide/README.md",
                 "share/doc/bide/LICENSE", "share/doc/bide/docs/getting-started.md", "share/doc/bide/examples/orders/app.py",
                 "share/doc/bide/bide.conf.example"):
        assert os.path.exists(moved + "/" + name), name
    left = [p for p in glob.glob(moved + "/**", recursive=True) if p.endswith((".pyc", ".scd")) or "__pycache__" in p]
    assert not left, left
    serve_and_invoke(moved, folder)


def test_settings_file(folder):
    """Every key is in the file that is installed, and with the comment signs taken away it is accepted and changes nothing."""
    prefix = install(folder)
    text = read(prefix, "etc/bide/bide.conf")
    keys = re.findall(r"^# ?([a-z_]+(?:\.[a-z_]+)*) =", text, re.M)
    told = re.findall(r"^  ([a-z_.]+) +.* \(default .*\)$", run(prefix + "/bin/bided", "--help").stdout, re.M)
    assert keys == told and len(keys) == len(set(keys)) > 20, set(keys) ^ set(told)
    with open(folder + "/all.conf", "w") as f:
        f.write(re.sub(r"^#(?=[a-z }]|  )(?! )", "", text, flags=re.M).replace("#    network", "    network").replace("#}", "}"))
    r = run(prefix + "/bin/bided", "--check", "--listen", "127.0.0.1:0", "--data", folder + "/d", "--config", folder + "/all.conf", check=False)
    assert r.returncode == 0, r.stderr
    # An installation over it leaves what was changed.
    with open(prefix + "/etc/bide/bide.conf", "a") as f:
        f.write("log.level = debug\n")
    install(folder)
    assert read(prefix, "etc/bide/bide.conf").endswith("log.level = debug\n")


def test_manual(folder):
    need("scdoc", "mandoc")
    prefix = install(folder)
    for page in ("man1/bide.1", "man8/bided.8", "man5/bide.conf.5"):
        r = run("mandoc", "-Tlint", "-Wwarning", prefix + "/share/man/" + page, check=False)
        # scdoc begins each paragraph after a heading with a paragraph macro: that is said of every page it makes.
        lines = [line for line in r.stdout.splitlines() if "skipping paragraph macro" not in line]
        assert not lines, lines
    text = run("mandoc", "-Tascii", prefix + "/share/man/man1/bide.1").stdout
    text = re.sub(".\b", "", text)
    for verb in re.findall(r"^  (\S+(?: \S+)?)  ", run(prefix + "/bin/bide", "--help").stdout, re.M):
        assert "bide " + verb.strip() in text or verb.startswith("-"), verb


def test_completion(folder):
    need("bash")
    prefix = install(folder)
    script = 'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _bide; printf "%s\\n" "${COMPREPLY[@]}"'

    def complete(*words):
        return run("bash", "-c", script, prefix + "/share/bash-completion/completions/bide", "bide", *words, cwd=folder).stdout.split()

    assert {"status", "deploy", "dlq", "events", "wait"} <= set(complete("")), complete("")
    assert complete("depl") == ["deploy"]
    assert {"ls", "show", "replay", "rm"} <= set(complete("dlq", ""))
    assert "--again" in complete("dlq", "replay", "--a") and "--again" not in complete("dlq", "ls", "--a")
    assert "--state" in complete("events", "--") and "--json" in complete("--data", "/x", "status", "--")
    assert complete("events", "--state", "wai") == ["waiting"]
    os.makedirs(folder + "/orders")
    assert complete("deploy", "ord") == ["orders"]


def unit(prefix):
    return prefix + "/lib/systemd/system/bide.service"


def test_unit(folder):
    prefix = folder + "/bide"
    run("cmake", "--install", BUILD, "--prefix", prefix)
    # Nothing that a minimal Debian is without: procps, with its /bin/kill, is one such.
    runs = re.findall(r"^Exec\w+=(\S+)", read(unit(prefix)), re.M)
    assert set(runs) == {prefix + "/bin/bided", "/bin/sh"}, runs
    need("systemd-analyze")
    r = run("systemd-analyze", "verify", "--man=no", unit(prefix), check=False)
    told = [line for line in (r.stdout + r.stderr).splitlines() if "bide" in line]
    assert r.returncode == 0 and not told, told
    # A measure of exposure: what is missing for less is said in the unit, with why.
    r = run("systemd-analyze", "security", "--offline=true", "--threshold=65", unit(prefix), check=False)
    assert r.returncode == 0, r.stdout[-600:] + r.stderr
    print("  ", r.stdout.splitlines()[-1])


def test_confined(folder):
    """bided under what the unit takes away: capabilities, new privileges, a writable /usr and /etc, the homes."""
    need("unshare", "setpriv")
    if os.geteuid() != 0:
        raise Skip("needs root")
    prefix = folder + "/bide"
    run("cmake", "--install", BUILD, "--prefix", prefix)
    caps = re.findall(r"CAP_(\w+)", "\n".join(re.findall(r"^CapabilityBoundingSet=(.*)", read(unit(prefix)), re.M)))
    assert "SYS_ADMIN" in caps and "SYS_MODULE" not in caps
    names = ",".join(["-all"] + ["+" + c.lower() for c in caps])
    with open(folder + "/confine", "w") as f:
        f.write("set -e\n"
                "for d in /usr /etc; do mount --bind $d $d; mount -o remount,bind,ro $d; done\n"
                "for d in /home /root /tmp; do mount -t tmpfs -o mode=0755 none $d; done\n"
                'exec setpriv --no-new-privs --inh-caps=-all --bounding-set="$CAPS" "$@"\n')
    before = ("env", "CAPS=" + names, "unshare", "--mount", "--propagation", "private", "sh", folder + "/confine")
    serve_and_invoke(prefix, folder, before)
    serve_and_invoke(prefix, folder, before, done=10)  # on what the first one left, which belongs to another user


def test_package(folder):
    """The Debian package: what it needs, what lintian says, and its programs run from where it was unpacked."""
    need("cpack", "dpkg-deb", "dpkg-shlibdeps")
    run("cpack", "-G", "DEB", "-B", folder + "/out", "--config", BUILD + "/CPackConfig.cmake", cwd=folder)
    [deb] = glob.glob(folder + "/out/*.deb")
    assert re.fullmatch(r"bide_[0-9.]+_[a-z0-9]+\.deb", os.path.basename(deb)), deb
    depends = run("dpkg-deb", "-f", deb, "Depends").stdout
    for library in ("libc6", "liblmdb0", "libevent-core", "libcurl4", "libssl3", "libseccomp2", "adduser"):
        assert library in depends, depends
    root = folder + "/root"
    run("dpkg-deb", "-R", deb, root)
    assert read(root, "DEBIAN/conffiles").split() == ["/etc/bide/bide.conf"]
    assert "ExecStart=/usr/bin/bided --data /var/lib/bide --config /etc/bide/bide.conf" in read(unit(root + "/usr"))
    assert gzip.open(root + "/usr/share/doc/bide/changelog.gz").read().startswith(b"bide (")
    for script in ("postinst", "prerm", "postrm"):
        run("sh", "-n", root + "/DEBIAN/" + script)
    serve_and_invoke(root + "/usr", folder)
    need("lintian")
    r = run("lintian", "--allow-root", "--fail-on", "error", deb, check=False)
    print("  ", "\n   ".join(line for line in r.stdout.splitlines() if re.match("[EW]:", line)) or "lintian: nothing to say")
    assert r.returncode == 0, r.stdout + r.stderr


def main():
    failed = 0
    for name, test in [(n, f) for n, f in globals().items() if n.startswith("test_")]:
        if sys.argv[2:] and name[5:] not in sys.argv[2:]:
            continue
        folder = tempfile.mkdtemp(prefix="bide-install-", dir="/var/tmp")
        os.chmod(folder, 0o755)
        began = time.monotonic()
        try:
            test(folder)
            print("ok   %-20s %5.1f s" % (name[5:], time.monotonic() - began), flush=True)
        except Skip as e:
            failed += os.environ.get("BIDE_SANDBOX_MUST_WORK") == "1"
            print("skip %-20s %s" % (name[5:], e), flush=True)
        except Exception as e:  # noqa: BLE001 - each failure is printed, the others still run
            failed += 1
            print("FAIL %-20s %s: %s" % (name[5:], type(e).__name__, e), flush=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


sys.exit(main())
