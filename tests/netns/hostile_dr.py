#!/usr/bin/python3
"""A UR whose DR was taken over: what it is told without end costs no memory, disk or traffic.

With DR_ATTACK_SECONDS=N it is told for N seconds.
"""

import itertools
import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "scripts"),
                str(Path(__file__).resolve().parent)]

from attacks import hostile_dr as h
from lablib import topology as t
from lablib import ur
from lablib.cases import Cases, expect
from lablib.lab import Lab, temporary_lab
from lablib.probe import Probe
from lablib.programs import SIGNALLING_PORT
from lablib.shell import wait_until
from second_ur.router import in_namespace

cases = Cases()
SECONDS = float(os.environ.get("DR_ATTACK_SECONDS", 4))
# Attachments that a UR takes at once, and in a second after these.
AT_ONCE, PER_SECOND = 32, 10
DIGEST = 32  # in front of an attachment on disk
MEGABYTE = 1 << 20


@contextmanager
def lab_without_drd():
    with temporary_lab(signalled={"wait_to_restore": 5}) as lab:
        ur.wait_up(lab)
        ur.wait_carries(lab, "a")
        yield lab


def state_folder(lab):
    return lab.directory / "urd-site-1-state"


def cost(lab):
    """Of urd: memory and log in bytes, files of its state."""
    pid = lab.urds["site-1"].pid
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        memory, = (int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS:"))
    # A file that is being replaced has a second name meanwhile. Beside the attachment in force
    # there may be the one that worked last, and the one that was gone back from.
    kept = {"attachment", "attachment.good", "attachment.aside"}
    wait_until(lambda: {x.name for x in state_folder(lab).iterdir()} <= kept,
               f"no state but {kept}")
    files = {x.name: x.stat().st_size for x in state_folder(lab).iterdir()}
    return {"memory": memory, "log": os.path.getsize(lab.urds["site-1"].log), "files": files}


def generation(lab):
    return ur.status(lab)["signalling"]["generation"]


def sessions(lab):
    return [[x[k] for k in ("line", "state", "flaps", "endpoint")] for x in ur.status(lab)["tunnels"]]


@cases.case("attachments without end, each another one, leave a UR's memory and disk as they were, "
            "its tunnels up, and no packet lost")
def _(lab):
    attachment = (state_folder(lab) / "attachment").read_bytes()[DIGEST:]
    first = ur.status(lab)["signalling"]["generation"] + 1
    made = h.certificate(lab.directory, lab.directory / "drd", t.DR_IX4)
    expect(lab.router.drd.stop(), "drd did not end")
    before, known = cost(lab), sessions(lab)
    hostile = h.HostileDr(
        in_namespace(lab.net["dr"].name, lambda: h.listener(t.DR_IX4, SIGNALLING_PORT)), made,
        lambda: (h.attachment_message(attachment, first + n) for n in itertools.count()))
    try:
        wait_until(lambda: generation(lab) > first, f"its attachments in force; {hostile.faults}",
                   seconds=20)
        probe = Probe(lab, "inet", "lan1", t.Site(1).lan4, rate=200, seconds=SECONDS)
        began = time.monotonic()
        result = probe.result()
        taken, took, sent = generation(lab) - first, time.monotonic() - began, hostile.sent
        after = cost(lab)
    finally:
        hostile.close()
    expect(result["lost"] == 0, f"{result}")
    expect(sessions(lab) == known, f"{known} -> {sessions(lab)}")
    # Those before it began to count, too: a second is enough for them.
    expect(PER_SECOND < taken <= AT_ONCE + PER_SECOND * (took + 2), f"{taken} taken in {took:.1f} s")
    expect(sent < taken + 20_000, f"{sent} sent, and {taken} taken: the others wait somewhere")
    grown = {k: after[k] - before[k] for k in ("memory", "log")}
    expect(grown["memory"] < 16 * MEGABYTE, f"memory {before} -> {after}")
    expect(grown["log"] < 100 * (taken + 20), f"log {before} -> {after}")
    expect(sum(after["files"].values()) < 64 << 10, f"files {before} -> {after}")
    return f"{taken} taken in {took:.1f} s, {sent} sent; memory +{grown['memory'] >> 10} KiB, " \
           f"log +{grown['log']} bytes, files {after['files']}"


@cases.case("when the real DR is back the UR attaches there, and has its attachment")
def _(lab):
    lab.router.start_drd()
    lab.router.drcli("subscriber", "rotate-keys", "site-1")
    wait_until(lambda: ur.status(lab)["signalling"]["connected"], "an attachment", seconds=40)
    ur.wait_for(lab, "a", {"state": "up", "keyNumber": 2}, seconds=20)
    ur.pings(lab)


if __name__ == "__main__":
    sys.exit(cases.run(lab_without_drd, describe=Lab.describe))
