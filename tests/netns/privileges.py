#!/usr/bin/python3
"""What the running daemons may do, and who may read what they have made."""

import os
import stat
import sys
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from lablib import rights
from lablib import topology as t
from lablib import ur
from lablib.cases import Cases, expect
from lablib.lab import Lab, temporary_lab
from lablib.packets import xdp_program
from lablib.process import Process
from lablib.programs import DRD_GID, DRD_UID
from lablib.shell import run, wait_until

cases = Cases()
# urd runs with a group of its own here: /proc then tells whether its memory may be read.
URD_GID = 61147
AS_URD = ["setpriv", f"--regid={URD_GID}", "--clear-groups"]
DATAPLANE = rights.mask("CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF", "CAP_PERFMON", "CAP_IPC_LOCK")
URD = rights.mask("CAP_NET_ADMIN", "CAP_BPF")


@contextmanager
def attached_lab():
    with temporary_lab(signalled={"wait_to_restore": 5}) as lab:
        restart_urd(lab)
        ur.wait_up(lab)
        ur.pings(lab)
        yield lab


def restart_urd(lab):
    lab.urds.pop(lab.sites[0].name).stop()
    lab.start_urd(lab.sites[0], AS_URD)


def urd(lab):
    return lab.urds[lab.sites[0].name]


def limited(process, **what):
    faults = rights.wrong(process.pid, **what)
    expect(not faults, f"{process.name}: " + "; ".join(faults))
    return f"{len(rights.threads(process.pid))} threads"


@cases.case("each thread of dr-dataplane has CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF, CAP_PERFMON "
            "and CAP_IPC_LOCK, and nothing else")
def _(lab):
    return limited(lab.router.dataplane, kept=DATAPLANE, uid=0, gid=DRD_GID)


@cases.case("each thread of urd has CAP_NET_ADMIN and CAP_BPF, and nothing else")
def _(lab):
    return limited(urd(lab), kept=URD, uid=0, gid=URD_GID)


@cases.case("each thread of drd has no capability, and no group but its own")
def _(lab):
    return limited(lab.router.drd, kept=0, uid=DRD_UID, gid=DRD_GID)


@contextmanager
def drd_as_root(lab, *options, user=None, name="other", before=()):
    """A drd that root starts, with files in a folder of its own that it makes itself."""
    folder = lab.directory / name
    command = [lab.programs.drd, "--listen", f"unix:{folder}/socket/drd.sock", "--store",
               f"{folder}/store/drd.db", "--dataplane", folder / "nobody.sock", *options]
    if user:
        command = user.command([*command, "--user", user.name])
    process = Process.start(f"drd ({name})", lab.net["dr"].command([*before, *command]),
                            lab.directory / f"{name}.log", ready="drd: ready")
    try:
        yield process, folder
    finally:
        process.stop()


def pool(lab, folder):
    """A pool is stored, and read again, by the drd of this folder."""
    drcli = [lab.programs.drcli, "--server", f"unix:{folder}/socket/drd.sock"]
    run([*drcli, "apply", "-f", "-"], stdin='{"pool": {"name": "p", "prefix": "192.0.2.0/24"}}')
    expect("192.0.2.0/24" in run([*drcli, "pool", "list"]).stdout, "the pool is not there")


@cases.case("drd that root starts with --user has that user's ids and groups in each thread, "
            "though root had others, no capability, and works")
def _(lab):
    user = rights.OwnUser(lab.directory, "drlabuser", 61150)
    with drd_as_root(lab, "--signalling", f"{t.DR_IX4}:4756", user=user, name="switched",
                     before=["setpriv", "--groups=0,4,6"]) as (drd, folder):
        pool(lab, folder)
        note = limited(drd, kept=0, uid=61150, gid=61150)
        expect(not rights.is_dumpable(drd.pid, 61150, 61150), "its memory may be read")
        modes(folder / "store", 61150, STORE)
        expect(owner(folder / "socket/drd.sock") == (61150, 61150, 0o660), "of the socket: "
               f"{owner(folder / 'socket/drd.sock')}")
        expect(owner(folder / "socket") == (0, 0, 0o755),
               f"of the socket's directory: {owner(folder / 'socket')}")
    return note


@cases.case("drd that root starts without --user warns of it, has no capability, and works")
def _(lab):
    with drd_as_root(lab, name="root") as (drd, folder):
        pool(lab, folder)
        expect("warning" in drd.output() and "--user" in drd.output(), drd.output())
        faults = rights.wrong(drd.pid, kept=0, uid=0, gid=0)
        expect(not faults, "; ".join(faults))


@cases.case("no daemon can leave a core dump, nor have its memory read by its own user")
def _(lab):
    for process, uid, gid in ((lab.router.drd, DRD_UID, DRD_GID),
                              (lab.router.dataplane, 0, DRD_GID), (urd(lab), 0, URD_GID)):
        limits = rights.core_limits(process.pid)
        expect(limits == ["0", "0"], f"{process.name}: core dumps of {limits} bytes")
        expect(not rights.is_dumpable(process.pid, uid, gid), f"{process.name} is dumpable")
    as_drd = ["setpriv", f"--reuid={DRD_UID}", f"--regid={DRD_GID}", "--clear-groups", "cat"]
    done = run([*as_drd, f"/proc/{lab.router.drd.pid}/environ"], check=False)
    expect(done.returncode != 0 and "Permission denied" in done.stderr,
           f"drd's user may read drd's memory: {done}")


@cases.case("--allow-core-dumps leaves the limit as it is, and lets the same user attach a "
            "debugger")
def _(lab):
    user = rights.OwnUser(lab.directory, "drlabuser", 61150)
    with drd_as_root(lab, "--allow-core-dumps", user=user, name="cores") as (drd, _folder):
        expect(rights.is_dumpable(drd.pid, 61150, 61150), "it is not dumpable")
        own = rights.core_limits("self")
        expect(rights.core_limits(drd.pid) == own, f"{rights.core_limits(drd.pid)}, not {own}")


def owner(path):
    status = os.lstat(path)
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)


STORE = {".": 0o700, "drd.db": 0o600, "drd.db-wal": 0o600, "drd.db-shm": 0o600,
         "drd.db.lock": 0o600, "drd.db.events": 0o600, "drd.db.events-wal": 0o600,
         "drd.db.events-shm": 0o600, "ca-key.pem": 0o600, "ca-cert.pem": 0o644}


def modes(folder, user, wanted, group=None):
    """Each file is that user's, and has exactly this mode; there is no other file."""
    present = {".", *(p.name for p in folder.iterdir())}
    expect(present == set(wanted), f"{folder}: there are {sorted(present)}")
    for name, mode in wanted.items():
        expect(owner(folder / name) == (user, user if group is None else group, mode),
               f"{folder / name}: {owner(folder / name)}, mode {owner(folder / name)[2]:o}")


@cases.case("what the daemons have made is their own and for nobody else to read, but for the "
            "sockets of drd's group")
def _(lab):
    drd = {**STORE, ".": 0o750, "drd.sock": 0o660}
    modes(lab.router.store.parent, DRD_UID, drd)
    modes(lab.router.dataplane_socket.parent, 0, {".": 0o750, "dataplane.sock": 0o660}, DRD_GID)
    site = lab.sites[0].name
    expect(owner(lab.directory / f"urd-{site}-state/attachment")[::2] == (0, 0o600),
           "the attachment on disk")
    expect(owner(lab.directory / f"urd-{site}.json") == (0, 0, 0o600), "the credentials")


@cases.case("files with secrets that an earlier version left for others to read are narrowed at"
            " the start, and the site keeps its tunnels")
def _(lab):
    site = lab.sites[0].name
    secrets = [*(lab.router.store.parent / name for name in STORE if name != "."),
               lab.directory / f"urd-{site}-state/attachment", lab.directory / f"urd-{site}.json"]
    lab.router.drd.kill()  # a clean end would take the -wal and -shm files away
    lab.urds[site].kill()
    for path in secrets:
        path.chmod(0o644)
    lab.router.start_drd()
    restart_urd(lab)
    ur.wait_up(lab)
    for path in secrets:
        mode = owner(path)[2]
        wanted = 0o644 if path.name == "ca-cert.pem" else 0o600
        expect(mode in (wanted, 0o600), f"{path}: mode {mode:o}")


@cases.case("urd makes its state directory for itself alone, and its socket when it is a file")
def _(lab):
    site = lab.sites[0]
    lab.urds.pop(site.name).stop()
    state = lab.directory / "var" / "urd"
    process = Process.start(
        "urd with files", lab.net["ur1"].command(
            [lab.programs.urd, "--credentials", lab.directory / f"urd-{site.name}.json", "--state",
             state, "--socket", lab.directory / "run" / "urd.sock", "--line", "a=wan-a",
             "--line", "b=wan-b", "--lan", "lan0"]), lab.directory / "urd-files.log",
        ready="urd: ready")
    try:
        wait_until(lambda: (state / "attachment").exists(), "the attachment on disk")
        modes(state, 0, {".": 0o700, "attachment": 0o600})
        expect(owner(lab.directory / "run/urd.sock") == (0, 0, 0o600),
               f"the socket: {owner(lab.directory / 'run/urd.sock')}")
    finally:
        process.stop()
    expect(not (lab.directory / "run/urd.sock").exists(), "the socket is still there")
    lab.start_urd(site, AS_URD)
    ur.wait_up(lab)


@cases.case("without its other rights dr-dataplane still follows the kernel's routes and "
            "neighbours, and detaches its programs at the end")
def _(lab):
    dr = lab.net["dr"]
    dr.ip("neighbour", "flush", "all")
    ur.pings(lab)
    lab.router.dataplane.stop()
    left = [d for d in ("up0", "ix0") if xdp_program(dr, d)]
    expect(not left, f"a program stays on {left}")
    filters = dr.run(["tc", "filter", "show", "dev", "ix0", "ingress"]).stdout
    expect(not filters.strip(), f"a filter stays: {filters}")
    lab.router.start_dataplane()
    lab.wait_in_sync()
    ur.pings(lab, seconds=15)


if __name__ == "__main__":
    sys.exit(cases.run(attached_lab, Lab.describe))
