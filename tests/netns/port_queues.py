#!/usr/bin/python3
"""A port whose device receives on more queues than dr-dataplane serves."""

import sys
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from lablib import topology as t
from lablib.cases import Cases, expect
from lablib.lab import temporary_lab
from lablib.netns import without_offloads
from lablib.shell import LabError, run

cases = Cases()
QUEUES = ("numtxqueues", "4", "numrxqueues", "4")


@contextmanager
def lab_with_queues():
    """The exchange's cable has four queues at each end; no program runs yet."""
    with temporary_lab(bring_up=False) as lab:
        lab.programs.require()
        lab.create_network()
        ix, dr = lab.net["ix"], lab.net["dr"]
        dr.ip("link", "del", "ix0")
        run(["ip", "link", "add", "dr", "netns", ix.name, *QUEUES, "type", "veth", "peer", "name", "ix0",
             "netns", dr.name, *QUEUES])
        ix.ip("link", "set", "dr", "master", "br0", "up")
        dr.ip("link", "set", "ix0", "up")
        without_offloads(ix, "dr")
        without_offloads(dr, "ix0")
        dr.ip("address", "replace", f"{t.DR_IX4}/24", "dev", "ix0")
        dr.ip("address", "replace", f"{t.DR_IX6}/64", "dev", "ix0", "nodad")
        for line in t.ISP_IX4:
            dr.ip("route", "replace", t.ISP_ACCESS4[line], "via", t.ISP_IX4[line])
        dr.ip("route", "replace", t.ISP_ACCESS6["b"], "via", t.ISP_IX6["b"])
        yield lab


@cases.case("dr-dataplane refuses to start where packets would arrive on queues that it does not serve")
def _(lab):
    try:
        lab.bring_up_programs()
    except LabError as error:
        said = str(error)
    else:
        said = "it started"
    said += "".join(lab.router.dataplane.output() if lab.router.dataplane else "")
    for text in ("ix0 receives on 4 queues", '"queues" is 1', 'set "queues" to 4', "ethtool -L ix0"):
        expect(text in said, f"{text!r} is not in: {said}")


if __name__ == "__main__":
    sys.exit(cases.run(lab_with_queues))
