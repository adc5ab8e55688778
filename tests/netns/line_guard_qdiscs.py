#!/usr/bin/python3
"""The guard where a line has somebody else's qdiscs and filters: traffic shapers and policers, before urd's
start and after it."""

import subprocess
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from lablib import topology as t
from lablib import ur
from lablib.cases import Cases, expect
from lablib.guard import dropped, nothing_in_clear, onto_line, ports, udp, unseen
from lablib.lab import Lab, temporary_lab
from lablib.probe import four_probes, lost_nothing
from lablib.shell import LabError, wait_until

cases = Cases()
SOON = 5
LAN = ("lan1", "eth0")
WITHOUT_GUARD = "it is not used, it has no guard: "


@contextmanager
def attached_lab():
    with temporary_lab(signalled={"wait_to_restore": 1}) as lab:
        ur.wait_up(lab)
        yield lab


def said(lab, text, since=0):
    wait_until(lambda: text in lab.urds["site-1"].output()[since:], f"a line that says: {text}",
               seconds=SOON)


def tc(lab, *commands, check=True):
    """Together, without a moment in between for urd."""
    with ur.stopped(lab) if lab.urds["site-1"].alive() else nullcontext():
        return lab.net["ur1"].run(["tc", "-batch", "-"], stdin="".join(f"{c}\n" for c in commands),
                                  check=check)


def shaper(device="wan-a"):
    """As scripts for traffic shaping do it: what enters is led through another device."""
    return (f"qdisc add dev {device} handle ffff: ingress",
            f"filter add dev {device} parent ffff: protocol all prio 10 u32 match u32 0 0 "
            "action mirred egress redirect dev ifb-a")


def shaping_device(lab):
    net = lab.net["ur1"]
    net.ip("link", "add", "ifb-a", "type", "ifb")
    net.ip("link", "set", "ifb-a", "up")


def restart(lab, between=lambda: None):
    expect(lab.urds["site-1"].stop(), "urd did not end by SIGTERM")
    between()
    lab.start_urd(lab.sites[0])
    ur.wait_up(lab, seconds=20)


def guarded(lab):
    """Line a carries the tunnels, and nothing else of the site passes it in either direction."""
    net, site, port = lab.net["ur1"], lab.sites[0], ports()
    ur.wait_up(lab, seconds=20)
    ur.wait_carries(lab, "a", seconds=30)
    ur.pings(lab)
    with nothing_in_clear(lab), unseen(lab, LAN, ("inet", "eth0"), expression=f"udp port {port}"), \
            dropped(lab, "drop.line_in", 2), dropped(lab, "drop.line_out", 3), ur.stopped(lab):
        onto_line(lab, "a", udp(t.INET4, site.lan4, port), udp(site.lan4, t.INET4, port))
        for priority in (4754, 4755):
            while net.run(["ip", "rule", "del", "priority", priority], check=False).returncode == 0:
                pass
        lab.ping("lan1", t.INET4, "-i", "0.01", "-W", "0.2", count=3, check=False)
    ur.wait_carries(lab, "a", seconds=30)
    ur.pings(lab)
    return lost_nothing(four_probes(lab, seconds=1))


@cases.case("a shaper that replaces urd's qdisc while it runs: the guard is there within a second, before the "
            "shaper, and urd says so")
def _(lab):
    shaping_device(lab)
    tc(lab, "qdisc del dev wan-a clsact", *shaper())
    said(lab, "line device wan-a: another qdisc or filter had come before the tc programs; attached "
              "before it")
    output = lab.urds["site-1"].output()
    expect("wan-a: the tc programs had been taken away; attached again" not in output, output)
    return guarded(lab)


@cases.case("the shaper that was there before urd starts keeps its qdisc and its filter, and the guard is there")
def _(lab):
    restart(lab)
    said(lab, "line device wan-a: the guard is attached before a qdisc or a filter that was there")
    note = guarded(lab)
    shown = tc(lab, "filter show dev wan-a ingress").stdout
    expect("ifb-a" in shown and "4754" not in shown, shown)
    return note


@cases.case("a urd that was killed there, too, leaves the guard, and the next one takes it over, with the shaper "
            "there or gone")
def _(lab):
    for change in ((), ("qdisc del dev wan-a ingress",), ("qdisc del dev wan-a clsact", *shaper())):
        lab.urds["site-1"].kill()
        if change:
            tc(lab, *change)
        lab.start_urd(lab.sites[0])
        guarded(lab)


@cases.case("where the shaper has gone the guard stays; at its end by SIGTERM urd leaves nothing")
def _(lab):
    tc(lab, "qdisc del dev wan-a ingress")
    guarded(lab)
    expect(lab.urds["site-1"].stop(), "urd did not end by SIGTERM")
    shown = tc(lab, "qdisc show dev wan-a").stdout
    expect("clsact" not in shown and "ingress" not in shown, shown)
    # All places are free.
    with full(lab, "wan-a"):
        pass
    lab.start_urd(lab.sites[0])
    guarded(lab)


@cases.case("a filter with a smaller priority that lets everything pass, on either side, is no way around the "
            "guard")
def _(lab):
    restart(lab)
    before = len(lab.urds["site-1"].output())
    tc(lab, *(f"filter add dev wan-a {side} protocol all prio 5 u32 match u32 0 0 flowid 1:1"
              for side in ("ingress", "egress")))
    said(lab, "line device wan-a: another qdisc or filter had come before the tc programs; attached "
              "before it", before)
    note = guarded(lab)
    tc(lab, *(f"filter del dev wan-a {side} prio 5" for side in ("ingress", "egress")))
    restart(lab)
    return note


@cases.case("where the guard cannot be had, the line is not used, status says why, and the other line carries; "
            "with the qdisc gone it is used again")
def _(lab):
    tc(lab, "qdisc del dev wan-a ingress", check=False)
    restart(lab)
    ur.wait_carries(lab, "a", seconds=30)
    before = len(lab.urds["site-1"].output())
    with full(lab, "wan-a"):
        tc(lab, "qdisc del dev wan-a clsact", *shaper())
        said(lab, f"warning: line device wan-a: {WITHOUT_GUARD}", before)
        ur.wait_carries(lab, "b", seconds=30)
        now = ur.tunnel(lab, "a")
        expect(now["state"] == "down" and now["trouble"].startswith(WITHOUT_GUARD) and
               "a qdisc `ingress`" in now["trouble"], f"{now}")
        shown = lab.net["ur1"].run([lab.programs.urd, "status"]).stdout
        expect(f"line a: {WITHOUT_GUARD}" in shown, shown)
        expect("attached again" not in lab.urds["site-1"].output()[before:], "it claims to have a guard")
        lost_nothing(four_probes(lab, seconds=1))
        # The same from the start.
        expect(lab.urds["site-1"].stop(), "urd did not end by SIGTERM")
        lab.start_urd(lab.sites[0])
        ur.wait_carries(lab, "b", seconds=30)
        expect(ur.tunnel(lab, "a")["trouble"].startswith(WITHOUT_GUARD), f"{ur.tunnel(lab, 'a')}")
        tc(lab, "qdisc del dev wan-a ingress")
        ur.wait_up(lab, seconds=20)
        expect(ur.tunnel(lab, "a")["trouble"] == "", f"{ur.tunnel(lab, 'a')}")
        said(lab, "line device wan-a: it is as it should be again")
        note = guarded(lab)
    return note


@contextmanager
def full(lab, device, programs=63):
    """As many tcx programs of somebody else as a device takes, on both sides; none of them does anything."""
    source = """
import ctypes, socket, struct, sys
device, count = socket.if_nametoindex(sys.argv[1]), int(sys.argv[2])
libc = ctypes.CDLL(None, use_errno=True)
def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\\0"))
    result = libc.syscall(321, command, buffer, 128)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"bpf command {command}")
    return result
LOAD, ATTACH, DETACH, INGRESS, EGRESS = 5, 8, 9, 46, 47
code = ctypes.create_string_buffer(struct.pack("<BBhiBBhi", 0xb7, 0, 0, -1, 0x95, 0, 0, 0))
text = ctypes.create_string_buffer(b"GPL")
made = []
for _ in range(count):
    program = bpf(LOAD, struct.pack("<IIQQ", 3, 2, ctypes.addressof(code), ctypes.addressof(text)))
    for side in (INGRESS, EGRESS):
        bpf(ATTACH, struct.pack("<IIII", device, program, side, 0))
        made.append((program, side))
print("full", flush=True)
sys.stdin.read()
for program, side in made:
    bpf(DETACH, struct.pack("<IIII", device, program, side, 0))
"""
    command = ["/usr/bin/python3", "-c", source, device, str(programs)]
    holder = subprocess.Popen([str(x) for x in lab.net["ur1"].command(command)], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        if (first := holder.stdout.readline()) != "full\n":
            raise LabError(f"the device is not full: {first}{holder.stdout.read()}")
        yield
    finally:
        holder.stdin.close()
        holder.wait()


if __name__ == "__main__":
    sys.exit(cases.run(attached_lab, describe=Lab.describe))
