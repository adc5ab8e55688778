#!/usr/bin/python3
"""Somebody with drd's user, or any other, puts links where root's daemons make files: nothing of
root's changes its owner, its mode or its content."""

import json
import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from lablib import rights, ur
from lablib.cases import Cases, expect
from lablib.lab import Lab, temporary_lab
from lablib.process import Process
from lablib.programs import CAPACITY
from lablib.shell import LabError, run, wait_until

cases = Cases()
UID = 61150
TRIES = 12

# Runs as the other user: as soon as the daemon has made NAME, a link to TARGET is in its place.
SWAP = """
import os, sys
name, target = sys.argv[1:]
print("swapping", flush=True)
n = 0
while True:
    try:
        os.rename(name, f"{name}.away{n}")
        os.symlink(target, name)
    except OSError:
        continue
    n += 1
    while os.path.islink(name):
        pass
"""


@contextmanager
def lab_with_user():
    with temporary_lab(signalled={"wait_to_restore": 5}) as lab:
        ur.wait_up(lab)
        lab.user = rights.OwnUser(lab.directory, "drlabuser", UID)
        yield lab


class Roots:
    """Something of root's; check() says that it is as it was."""

    def __init__(self, path, folder=False):
        self.path = path
        if folder:
            path.mkdir(mode=0o700)
        else:
            path.write_text("root's\n")
            path.chmod(0o600)
        self.folder = folder
        self.before = self.look()

    def look(self):
        status = os.lstat(self.path)
        content = sorted(os.listdir(self.path)) if self.folder else self.path.read_text()
        return status.st_ino, status.st_uid, status.st_gid, oct(status.st_mode), content

    def changed(self):
        now = self.look() if self.path.exists() else "gone"
        return None if now == self.before else f"{self.before} became {now}"

    def check(self):
        change = self.changed()
        expect(change is None, f"{self.path.name} of root's is not as it was: {change}")


def folder_of_user(lab, name):
    folder = lab.directory / name
    folder.mkdir(mode=0o755)
    os.chown(folder, UID, UID)
    return folder


@contextmanager
def swapping(lab, name, target):
    process = Process.start(
        "the other user", ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups",
                           "/usr/bin/python3", "-c", SWAP, name, target],
        lab.directory / "swap.log", ready="swapping")
    try:
        yield
    finally:
        process.kill()


def drd_against(lab, folder, name, roots, *options):
    """Starts drd as root many times while `name` in the folder is being swapped for a link to
    `roots`. Returns the tries in which that changed, and those in which the swap was made."""
    won, swapped = [], 0
    for n in range(TRIES):
        with swapping(lab, folder / name, roots.path):
            try:
                drd = Process.start(
                    "drd", lab.user.command([lab.programs.drd, "--user", lab.user.name,
                                             "--dataplane", folder / "nobody.sock", *options]),
                    lab.directory / "swapped.log", ready="drd: ready", seconds=30)
                drd.kill()
            except LabError:
                pass  # it need not start
        swapped += (folder / name).is_symlink()
        change = roots.changed()
        if change:
            won.append(f"try {n}: {change}")
            os.chown(roots.path, 0, 0)
            shutil.rmtree(roots.path) if roots.folder else roots.path.unlink()
            roots = Roots(roots.path, roots.folder)
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return won, swapped


@cases.case(f"drd started as root {TRIES} times gives nothing of root's to a user who swaps its "
            "socket for a link")
def _(lab):
    folder, roots = folder_of_user(lab, "socket"), Roots(lab.directory / "shadow")
    won, swapped = drd_against(lab, folder, "drd.sock", roots, "--listen",
                               f"unix:{folder}/drd.sock", "--store", f"{folder}/drd.db")
    expect(not won, f"{len(won)} of {TRIES} tries: {won[0] if won else ''}")
    expect(swapped > 0, "the other user was never fast enough: this has tried nothing")
    return f"the link was there in {swapped} of {TRIES} tries"


@cases.case(f"drd started as root {TRIES} times gives nothing of root's to a user who swaps a "
            "directory that it makes for a link")
def _(lab):
    folder, roots = folder_of_user(lab, "parent"), Roots(lab.directory / "secrets", folder=True)
    socket = lab.directory / "apart" / "drd.sock"
    won, swapped = drd_against(lab, folder, "store", roots, "--listen", f"unix:{socket}",
                               "--store", f"{folder}/store/drd.db")
    expect(not won, f"{len(won)} of {TRIES} tries: {won[0] if won else ''}")
    expect(swapped > 0, "the other user was never fast enough: this has tried nothing")
    return f"the link was there in {swapped} of {TRIES} tries"


def refused(command, *texts):
    done = run(command, check=False, timeout=60)
    expect(done.returncode != 0, f"it was accepted: {' '.join(map(str, command))}")
    missing = [text for text in texts if text not in done.stderr]
    expect(not missing, f"not said: {missing}; but: {done.stderr}")


def dataplane(lab, **port):
    config = lab.directory / "no-network.json"
    config.write_text(json.dumps({
        "memory_mib": 128, "mbufs": 8192, "capacity": CAPACITY,
        "ports": [{"name": "p0", **(port or {"kind": "null"})}]}))
    return [lab.programs.dataplane, "--config", config, "--no-huge", "--socket"]


@cases.case("dr-dataplane makes no socket in another user's directory, in one that others may "
            "write to, nor below such a one")
def _(lab):
    theirs = folder_of_user(lab, "theirs")
    open_to_all = lab.directory / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    below = theirs / "below"
    below.mkdir()
    link = lab.directory / "link"
    link.symlink_to(theirs)
    for folder, culprit, remedy in ((theirs, theirs, f"chown 0 {theirs}"),
                                    (below, theirs, f"chown 0 {theirs}"),
                                    (link, theirs, f"chown 0 {theirs}"),
                                    (open_to_all, open_to_all, f"chmod go-w {open_to_all}")):
        refused([*dataplane(lab), folder / "dp.sock"], str(culprit), remedy)
        expect(not (folder / "dp.sock").exists(), f"{folder}: the socket is there")


@cases.case("dr-dataplane leaves a file alone that a memif port's socket path names by mistake,"
            " and makes neither such a socket nor a capture in another user's directory")
def _(lab):
    roots = Roots(lab.directory / "no-socket")
    refused([*dataplane(lab, kind="memif", memif=str(roots.path)), lab.directory / "dp.sock"],
            str(roots.path), "no socket")
    roots.check()
    theirs = folder_of_user(lab, "memif")
    refused([*dataplane(lab, kind="memif", memif=str(theirs / "memif.sock")),
             lab.directory / "dp.sock"], f"chown 0 {theirs}")
    refused([*dataplane(lab, kind="pcap", tx=str(theirs / "out.pcap")), lab.directory / "dp.sock"],
            f"chown 0 {theirs}")
    expect(not list(theirs.iterdir()), f"there is {list(theirs.iterdir())}")


def urd(lab, *options):
    site = lab.sites[0]
    return lab.net["ur1"].command(
        [lab.programs.urd, "--credentials", lab.directory / f"urd-{site.name}.json", "--line",
         "a=wan-a", "--line", "b=wan-b", *options])


@cases.case("urd leaves a file alone that --socket names by mistake, and uses neither a "
            "socket's nor a state directory of another user's")
def _(lab):
    lab.urds.pop(lab.sites[0].name).stop()
    roots = Roots(lab.directory / "urd-no-socket")
    refused(urd(lab, "--socket", roots.path), str(roots.path), "no socket")
    roots.check()
    theirs = folder_of_user(lab, "urd-theirs")
    refused(urd(lab, "--socket", theirs / "urd.sock"), f"chown 0 {theirs}")
    refused(urd(lab, "--state", theirs), "--state", f"chown 0 {theirs}")
    expect(not list(theirs.iterdir()), f"there is {list(theirs.iterdir())}")


@cases.case("urd writes its attachment through no link that stands in its place")
def _(lab):
    site = lab.sites[0]
    roots = Roots(lab.directory / "attachment-target")
    state = lab.directory / f"urd-{site.name}-state"
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir()
    (state / "attachment.new").symlink_to(roots.path)
    lab.start_urd(site)
    wait_until(lambda: (state / "attachment").exists(), "the attachment on disk")
    expect(not (state / "attachment").is_symlink(), "the attachment is a link")
    roots.check()


@cases.case("drcli writes credentials to a regular file of its own user alone: no link, device,"
            " pipe, second name or another user's file")
def _(lab):
    roots = Roots(lab.directory / "enroll-target")
    folder = lab.directory / "enroll"
    folder.mkdir()
    (folder / "link").symlink_to(roots.path)
    os.mkfifo(folder / "pipe")
    other = Roots(lab.directory / "enroll-second")
    other.path.chmod(0o640)
    other.before = other.look()
    os.link(other.path, folder / "second-name")
    os.mknod(folder / "device", 0o20666, os.makedev(1, 3))
    os.chmod(folder / "device", 0o666)
    (folder / "theirs").touch()
    os.chown(folder / "theirs", UID, UID)
    for name, text in (("link", "symbolic link"), ("pipe", ""), ("second-name", "hard link"),
                       ("device", "no regular file"), ("theirs", "another user")):
        refused(lab.router.drcli_command("subscriber", "enroll", "site-1", "--out", folder / name),
                str(folder / name), text)
    roots.check()
    other.check()
    expect(oct(os.stat(folder / "device").st_mode) == "0o20666", "the device's mode has changed")
    refused(lab.router.drcli_command("subscriber", "ur-config", "site-1", "-f", folder / "link"),
            "symbolic link")
    roots.check()
    lab.router.drcli("subscriber", "enroll", "site-1", "--out", folder / "good", "--keep-older")
    expect(oct(os.stat(folder / "good").st_mode) == "0o100600", "of a good file's mode")


if __name__ == "__main__":
    sys.exit(cases.run(lab_with_user, Lab.describe))
