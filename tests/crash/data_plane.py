#!/usr/bin/python3
"""dr-dataplane dies: nothing loops meanwhile; started again it is complete without a hand."""

import sys
import time
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from lablib import topology as t
from lablib.cases import Cases, expect
from lablib.lab import Lab, temporary_lab
from lablib.packets import Capture, xdp_program
from lablib.probe import four_probes
from lablib.shell import LabError, wait_until

cases = Cases()
PORTS = ("up0", "ix0")


@contextmanager
def lab_that_could_loop():
    with temporary_lab() as lab:
        # The worst case for a loop: the DR's kernel forwards, and its default route points back
        # to where packets for the pools come from.
        lab.net["dr"].forward(True)
        works(lab)
        yield lab


def works(lab):
    """Pings in all four ways, until a deadline: addresses may have to be resolved again."""
    site = lab.sites[0]
    for node, address in (("inet", site.lan4), ("inet", site.lan6), ("lan1", t.INET4),
                          ("lan1", t.INET6)):
        wait_until(lambda n=node, a=address: lab.ping(n, a, "-W", "0.5", check=False).returncode
                   == 0, f"a ping from {node} to {address}", seconds=10)


@contextmanager
def nothing_loops(lab):
    """While it is open, no packet for a pool may leave the DR's kernel or come back from it."""
    pools = f"dst net {t.POOL4} or dst net {t.POOL6}"
    with Capture(lab, "dr", "any", pools, direction="out") as out, \
            Capture(lab, "inet", "eth0", pools, direction="in") as back:
        yield
        lab.ping("inet", t.DR_UP4)  # the DR's kernel has handled all before this one
    expect(not out.packets(), f"{len(out.packets())} left:\n" + "\n".join(out.lines()[:6]))
    expect(not back.packets(), f"{len(back.packets())} came back:\n" + "\n".join(back.lines()[:6]))


def ping_the_pools(lab):
    """80 packets for addresses in the pools, a subscriber's and nobody's."""
    site = lab.sites[0]
    for address in (site.lan4, site.lan6, "203.0.113.250", "2001:db8:50ff::1"):
        lab.ping("inet", address, "-W", "0.2", count=20, check=False)


def uuid(lab):
    return lab.router.drcli_json("system", "status")["dataplaneUuid"]


@cases.case("kill -9 of dr-dataplane: meanwhile no packet for a pool leaves the DR on any device",
            needed=True)
def _(lab):
    lab.uuid = uuid(lab)
    lab.programs_before = {d: xdp_program(lab.net["dr"], d) for d in PORTS}
    lab.router.dataplane.kill()
    with nothing_loops(lab):
        ping_the_pools(lab)


@cases.case("while it is dead the DR's kernel still answers: ping, ARP and neighbour discovery")
def _(lab):
    lab.net["inet"].ip("neighbour", "flush", "all")
    lab.ping("inet", t.DR_UP4, count=3)
    lab.ping("inet", t.DR_UP6, count=3)


@cases.case("drcli says that the data plane is absent, and why")
def _(lab):
    status = wait_until(
        lambda: (s := lab.router.drcli_json("system", "status"))["dataplaneState"] == "ABSENT" and s,
        "dataplaneState ABSENT")
    expect(status["detail"], "no detail is given")
    return status["detail"]


@cases.case("started again, it takes over the ports, and drd replays everything without a hand",
            needed=True)
def _(lab):
    lab.router.start_dataplane()
    started = time.monotonic()
    lab.wait_in_sync()
    taken = time.monotonic() - started
    expect(uuid(lab) != lab.uuid, "the instance UUID is the old one")
    for row in lab.router.drcli_json("system", "status")["rows"]:
        expect(row["table"] not in ("pools", "policies", "subscribers", "tunnels")
               or row["desired"] == row["installed"] > 0, f"row counts: {row}")
    return f"in sync {taken * 1000:.0f} ms after it was ready"


@cases.case("traffic is back in all directions and families")
def _(lab):
    works(lab)


@cases.case("no stale XDP program: each port has a new one, only ours, and no other filter is left")
def _(lab):
    for device in PORTS:
        program = xdp_program(lab.net["dr"], device)
        expect(program, f"none on {device}")
        expect(program != lab.programs_before[device], f"{device} still has the killed one's")
        qdiscs = lab.net["dr"].run(["tc", "qdisc", "show", "dev", device]).stdout
        expect("clsact" not in qdiscs, f"{device}: {qdiscs}")


@cases.case("kill -9 under traffic and start: the stream goes on, with nothing twice, and nothing "
            "loops from the first moment to the last")
def _(lab):
    probes = four_probes(lab, seconds=12)
    with nothing_loops(lab):
        time.sleep(2)  # the stream before the kill
        lab.router.dataplane.kill()
        lab.router.start_dataplane()
        lab.wait_in_sync()
    notes = []
    for probe in probes:
        result = probe.result()
        expect(result["received"] > result["sent"] / 4, f"{probe.name}: {result}")
        expect(result["duplicates"] == 0, f"{probe.name}: {result}")
        expect(result["last"] == result["sent"] - 1, f"{probe.name} did not come back: {result}")
        notes.append(f"{probe.name}: silent for {result['longest_gap_ms']} ms")
    return "\n".join(notes)


@cases.case("both daemons killed at once and started in either order: traffic is back, and nothing "
            "loops meanwhile")
def _(lab):
    for first, second in ((lab.router.start_drd, lab.router.start_dataplane),
                          (lab.router.start_dataplane, lab.router.start_drd)):
        with nothing_loops(lab):
            lab.router.drd.kill()
            lab.router.dataplane.kill()
            first()
            ping_the_pools(lab)
            second()
            lab.wait_in_sync()
            works(lab)


@cases.case("killed five times in a row, it starts each time and forwards")
def _(lab):
    for _ in range(5):
        lab.router.dataplane.kill()
        lab.router.start_dataplane()
    lab.wait_in_sync()
    works(lab)


@cases.case("with the killed one's XDP programs taken off by hand the same packets do loop (so that "
            "the cases above would have seen it)")
def _(lab):
    lab.router.dataplane.kill()
    for device in PORTS:
        lab.net["dr"].ip("link", "set", "dev", device, "xdp", "off")
    try:
        with nothing_loops(lab):
            ping_the_pools(lab)
    except LabError:
        return
    raise LabError("nothing was seen to loop")


if __name__ == "__main__":
    sys.exit(cases.run(lab_that_could_loop, Lab.describe))
