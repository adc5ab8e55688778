#!/usr/bin/python3
"""What breaks a port under a running data plane is found, told and repaired, without a restart."""

import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from lablib import breaking, switching
from lablib import topology as t
from lablib.cases import Cases, expect
from lablib.lab import Lab, temporary_lab
from lablib.netns import cable, without_offloads
from lablib.packets import mac, xdp_program
from lablib.shell import wait_until
from lablib.stream import site_streams

cases = Cases()
SECONDS = 20
# Buffers on their way at the moment of counting.
WAVER = 300


@contextmanager
def attached_site():
    with temporary_lab(emulated=True, signalled={"wait_to_restore": 2}) as lab:
        switching.wait_up(lab)
        yield lab


def passes(lab):
    """Traffic in both directions and families."""
    site = lab.sites[0]
    for node, address in (("lan1", t.INET4), ("inet", site.lan4), ("lan1", t.INET6),
                          ("inet", site.lan6)):
        wait_until(lambda n=node, a=address: lab.ping(n, a, check=False).returncode == 0,
                   f"an answer of {address} to {node}", seconds=SECONDS)


def part(lab, name, kind="PORT"):
    (found,) = [h for h in lab.router.drcli_json("system", "status")["health"]
                if h["name"] == name and h["kind"] == kind]
    return {key: int(value) if isinstance(value, str) and value.isdigit() else value
            for key, value in found.items()}


def events(lab, kind):
    return [e["cause"] for e in lab.router.drcli_json("event", "list", "--kind", kind)]


@contextmanager
def repaired(lab, name, cause):
    """What is done inside breaks the port for the reason named, and the port repairs itself."""
    passes(lab)
    before = part(lab, name)
    pid = lab.router.dataplane.pid
    told = {kind: events(lab, kind).count(f"port {name}: {cause}")
            for kind in ("port-stalled", "port-recovered")}
    yield

    def well():
        now = part(lab, name)
        return (now["state"] == "OK" and now["cause"] == cause
                and now.get("recoveries", 0) > before.get("recoveries", 0))

    wait_until(well, f"port {name} repaired ({cause})", seconds=SECONDS, interval=0.1)
    passes(lab)
    switching.wait_up(lab)
    for kind, count in told.items():
        wait_until(lambda k=kind, c=count: events(lab, k).count(f"port {name}: {cause}") > c,
                   f"an event {kind} of {name} ({cause})", seconds=5, interval=0.1)
    expect(lab.router.dataplane.pid == pid and lab.router.dataplane.alive(), "it was restarted")
    expect(f"port {name} is stalled: {cause}" in lab.router.dataplane.output(), "no line in the log")


@cases.case("a port that is well is OK in `drcli system status`, and so is the worker")
def _(lab):
    for name, kind in (("up0", "PORT"), ("ix0", "PORT"), ("0", "WORKER")):
        wait_until(lambda n=name, k=kind: part(lab, n, k)["state"] == "OK", f"{kind} {name} OK",
                   seconds=5)
    shown = lab.router.drcli("system", "status").stdout
    expect("port ix0" in shown and "worker 0" in shown, f"the table does not show them:\n{shown}")


def program_case(name):
    @cases.case(f"a steering program that somebody detaches from {name} is attached again")
    def _(lab):
        dr = lab.net["dr"]
        with repaired(lab, name, "the steering program was detached"):
            program = xdp_program(dr, name)
            dr.ip("link", "set", "dev", name, "xdp", "off")
        expect(xdp_program(dr, name) == program, "it is another program")
        expect(part(lab, name).get("buffersLost", 0) == 0, "buffers were lost")


program_case("ix0")
program_case("up0")


@cases.case("a program that is detached again and again is attached again each time, without a wait "
            "that grows")
def _(lab):
    dr = lab.net["dr"]
    for nth in range(1, 7):
        program = xdp_program(dr, "ix0")
        dr.ip("link", "set", "dev", "ix0", "xdp", "off")
        wait_until(lambda p=program: xdp_program(dr, "ix0") == p,
                   f"the program attached again, the {nth}th time", seconds=5)
    passes(lab)


def ix0_addresses(dr):
    """What is missing of them and their routes."""
    for address in (f"{t.DR_IX4}/24", f"{t.DR_IX6}/64"):
        dr.ip("address", "replace", address, "dev", "ix0", *(["nodad"] if ":" in address else []))
    for line in ("a", "b"):
        dr.ip("route", "replace", t.ISP_ACCESS4[line], "via", t.ISP_IX4[line])
    dr.ip("route", "replace", t.ISP_ACCESS6["b"], "via", t.ISP_IX6["b"])


def new_ix0(lab):
    ix, dr = lab.net["ix"], lab.net["dr"]
    cable(ix, "dr", dr, "ix0")
    ix.ip("link", "set", "dr", "master", "br0")
    for namespace, device in ((ix, "dr"), (dr, "ix0")):
        without_offloads(namespace, device)
    ix0_addresses(dr)


def new_up0(lab):
    lab.net.connect_internet()


def deleted_case(name, other, make):
    @cases.case(f"an interface, {name}, that is deleted is told as gone; made anew, with another MAC "
                "address, it carries traffic again, and no packet buffer is lost")
    def _(lab):
        dr = lab.net["dr"]
        passes(lab)
        buffers, address = lab.buffers(), mac(dr, name)
        with repaired(lab, name, "the interface is gone"):
            dr.ip("link", "del", name)
            wait_until(lambda: part(lab, name)["state"] == "STALLED", f"port {name} STALLED", seconds=5)
            # What is left of it goes back; the other port is not disturbed.
            wait_until(lambda: lab.buffers() < buffers - 1000, "its buffers given back", seconds=5)
            expect(part(lab, other)["state"] == "OK", f"{other} is not OK")
            make(lab)
        expect(mac(dr, name) != address, "it has the same MAC address by chance")
        expect(part(lab, name).get("buffersLost", 0) == 0, "buffers were lost")
        wait_until(lambda: abs(lab.buffers() - buffers) <= WAVER, "as many buffers in use as before",
                   seconds=5)
        return f"{buffers} buffers in use before, {lab.buffers()} after"


deleted_case("ix0", "up0", new_ix0)
deleted_case("up0", "ix0", new_up0)


@cases.case("an interface that is exchanged while nobody looks is found as another one; "
            "again, too, and neither buffers nor descriptors are lost")
def _(lab):
    dr = lab.net["dr"]
    pid = lab.router.dataplane.pid
    passes(lab)

    def descriptors():
        return len(os.listdir(f"/proc/{pid}/fd"))

    buffers, open_now = lab.buffers(), descriptors()
    for _ in range(4):
        recovered = part(lab, "ix0").get("recoveries", 0)
        dr.ip("link", "del", "ix0")
        new_ix0(lab)
        wait_until(lambda n=recovered: part(lab, "ix0").get("recoveries", 0) > n
                   and part(lab, "ix0")["state"] == "OK", "port ix0 repaired", seconds=60,
                   interval=0.1)
        # Otherwise the next repair would wait: this one stalls on purpose.
        passes(lab)
        if recovered >= 3:
            break
    expect(part(lab, "ix0").get("buffersLost", 0) == 0, "buffers were lost")
    wait_until(lambda: abs(lab.buffers() - buffers) <= WAVER, "as many buffers in use as before",
               seconds=5)
    wait_until(lambda: descriptors() == open_now, f"{open_now} descriptors", seconds=5)
    return f"{open_now} descriptors, {buffers} buffers in use"


@cases.case("a fill ring that the kernel has emptied is found, and the port opened again; the "
            "buffers that are lost are counted")
def _(lab):
    passes(lab)
    # The first socket is of the first port: up0 has no keepalives that would come in between.
    with repaired(lab, "up0", "the fill ring is empty"):
        breaking.spoil_fill_ring(lab.router.dataplane.pid, 0)
        lab.ping("inet", lab.sites[0].lan4, check=False)
    lost = part(lab, "up0").get("buffersLost", 0)
    expect(0 < lost <= 2048, f"{lost} buffers are counted as lost")
    expect(lab.counters()["port.up0.buffers_lost"] == lost, "the counter says something else")
    return f"{lost} buffers lost"


@cases.case("a port that gets another MAC address goes on with it")
def _(lab):
    dr = lab.net["dr"]
    passes(lab)
    dr.ip("link", "set", "dev", "ix0", "address", "02:00:00:12:34:56")
    passes(lab)
    expect(part(lab, "ix0")["state"] == "OK", "ix0 is not OK")


@cases.case("a MAC address above a port, as VRRP's master has it, is the port's too while it has an address")
def _(lab):
    dr, inet, site = lab.net["dr"], lab.net["inet"], lab.sites[0]
    mac, address = "00:00:5e:00:01:33", t.INET4.rsplit(".", 1)[0] + ".77"
    host = f"{site.lan4}/32"

    def arrives():
        return inet.run(["ping", "-n", "-c", "1", "-W", "1", site.lan4], check=False).returncode == 0

    inet.ip("neigh", "replace", address, "lladdr", mac, "dev", "eth0", "nud", "permanent")
    inet.ip("route", "replace", host, "via", address, "dev", "eth0")
    try:
        before = lab.counters()["drop.not_for_us"]
        expect(not arrives() and lab.counters()["drop.not_for_us"] > before, "nobody has it yet")
        dr.ip("link", "add", "vrrp1", "link", "up0", "address", mac, "type", "macvlan", "mode", "private")
        dr.ip("link", "set", "vrrp1", "up")
        expect(not arrives(), "the backup, which has no address, forwards nothing")
        dr.ip("address", "add", f"{address}/32", "dev", "vrrp1")
        wait_until(arrives, "a packet to the address of VRRP forwarded", seconds=10)
        expect(part(lab, "up0")["state"] == "OK", "up0 is not OK")
        dr.ip("link", "del", "vrrp1")
        wait_until(lambda: not arrives(), "it is no more once another one is master", seconds=10)
    finally:
        inet.run(["ip", "route", "del", host], check=False)
        inet.run(["ip", "neigh", "del", address, "dev", "eth0"], check=False)
        dr.run(["ip", "link", "del", "vrrp1"], check=False)
    passes(lab)


@cases.case("an address of the tunnels' DR end that is away for a second costs that second")
def _(lab):
    dr = lab.net["dr"]
    passes(lab)
    with site_streams(lab) as streams:
        begin = time.monotonic_ns()
        dr.ip("address", "del", f"{t.DR_IX4}/24", "dev", "ix0")
        time.sleep(1)  # not for a state: this is what is done
        ix0_addresses(dr)
        end = time.monotonic_ns()
        passes(lab)
        away, recordings = (end - begin) / 1e6, [s.end() for s in streams.values()]
    told = []
    for recording in recordings:
        seen = recording.window(begin, end + 1_000_000_000)
        # A packet a millisecond.
        expect(seen["lost"] < away + 500, f"away for {away:.0f} ms: {seen}")
        expect(seen["lost"] > 500, f"nothing was away: {seen}")
        told.append(f"{seen['lost']} lost, {seen['reordered']} reordered")
    return f"away for {away:.0f} ms: " + "; ".join(told)


@cases.case("a worker that does not turn is told, and told again when it turns; its ports are not "
            "touched")
def _(lab):
    passes(lab)
    attempts = part(lab, "ix0").get("repairAttempts", 0)
    tid = breaking.thread_named(lab.router.dataplane.pid, "rte-worker-1")
    with breaking.thread_stopped(tid):
        wait_until(lambda: part(lab, "0", "WORKER")["state"] == "STALLED", "worker 0 STALLED",
                   seconds=10, interval=0.1)
        wait_until(lambda: "worker 0: the worker does not turn" in events(lab, "worker-stalled"),
                   "an event worker-stalled", seconds=5)
    wait_until(lambda: part(lab, "0", "WORKER")["state"] == "OK", "worker 0 OK", seconds=10)
    wait_until(lambda: "worker 0: the worker does not turn" in events(lab, "worker-recovered"),
               "an event worker-recovered", seconds=5)
    passes(lab)
    expect(part(lab, "ix0").get("repairAttempts", 0) == attempts, "the port was repaired for it")


if __name__ == "__main__":
    sys.exit(cases.run(attached_site, Lab.describe))
