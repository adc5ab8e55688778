#!/usr/bin/python3
"""The programs as processes: their users, and that they clean up behind themselves."""

import sys
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from lablib.cases import Cases, expect
from lablib.lab import Lab, temporary_lab
from lablib.packets import xdp_program
from lablib.programs import DRD_UID
from lablib import topology as t
from lablib.shell import wait_until

cases = Cases()


def network_state(namespace):
    """All of a namespace that a program could leave something in, as text."""
    commands = [("ip", "-d", "link"), ("ip", "address"), ("ip", "rule"), ("ip", "-6", "rule"),
                ("ip", "route", "show", "table", "all"),
                ("ip", "-6", "route", "show", "table", "all"), ("tc", "qdisc"),
                ("nft", "list", "ruleset"), ("ip", "xfrm", "policy")]
    for device in ("wan-a", "wan-b", "lan0"):
        for way in ("ingress", "egress"):
            commands.append(("tc", "filter", "show", "dev", device, way))
    return {" ".join(c): namespace.run(list(c), check=False).stdout for c in commands}


@contextmanager
def lab_with_snapshot():
    with temporary_lab(bring_up=False) as lab:
        lab.programs.require()
        lab.create_network()
        # Creates what the kernel creates at first use, so that it is in the snapshot too.
        for address in (t.DR_IX4, t.DR_IX6):
            lab.ping("ur1", address)
        lab.before = network_state(lab.net["ur1"])
        lab.bring_up_programs()
        yield lab


def process_status(process):
    with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
        return dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)


@cases.case("drd runs as an unprivileged user with no capability at all")
def _(lab):
    status = process_status(lab.router.drd)
    expect(status["Uid"].split() == [str(DRD_UID)] * 4, f"its user ids are {status['Uid']}")
    for name in ("CapEff", "CapPrm", "CapInh", "CapBnd"):
        expect(int(status[name], 16) == 0, f"{name} is {status[name]}")


@cases.case("dr-dataplane holds an XDP program on each of its ports while it runs")
def _(lab):
    for device in ("up0", "ix0"):
        expect(xdp_program(lab.net["dr"], device), f"none on {device}")


@cases.case("urd stopped by SIGTERM leaves no device, route, rule, filter or address behind")
def _(lab):
    urd = lab.urds.pop("site-1")
    during = network_state(lab.net["ur1"])
    expect(during != lab.before, "while it runs nothing is there: the test sees nothing")
    expect(urd.stop(), "SIGTERM did not end it")
    after = network_state(lab.net["ur1"])
    for command, text in lab.before.items():
        expect(after[command] == text,
               f"`{command}` shows what was not there before:\n{after[command]}")


@cases.case("urd starts again after that, and traffic passes")
def _(lab):
    lab.start_urd(lab.sites[0])
    lab.ping("lan1", t.INET4, count=3)
    lab.ping("lan1", t.INET6, count=3)


@cases.case("urd killed with -9 and started again takes over, and traffic passes")
def _(lab):
    lab.urds.pop("site-1").kill()
    lab.start_urd(lab.sites[0])
    lab.ping("lan1", t.INET4, count=3)
    lab.ping("lan1", t.INET6, count=3)


@cases.case("drd stopped by SIGTERM ends, and forwarding goes on")
def _(lab):
    expect(lab.router.drd.stop(), "SIGTERM did not end it")
    lab.ping("lan1", t.INET4, count=3)
    lab.ping("inet", lab.sites[0].lan6, count=3)


@cases.case("dr-dataplane stopped by SIGTERM leaves no XDP program and no socket behind")
def _(lab):
    expect(lab.router.dataplane.stop(), "SIGTERM did not end it")
    for device in ("up0", "ix0"):
        wait_until(lambda d=device: xdp_program(lab.net["dr"], d) is None,
                   f"no XDP program on {device}", seconds=3)
    expect(not lab.router.dataplane_socket.exists(), f"{lab.router.dataplane_socket} is there")


if __name__ == "__main__":
    sys.exit(cases.run(lab_with_snapshot, Lab.describe))
