#!/usr/bin/python3
"""A UR that attached: its configuration changes, its DR's drd and its devices go and come, NATs."""

import sys
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import json
import time

from lablib import topology as t
from lablib import ur
from lablib.cases import Cases, expect
from lablib.lab import Lab, temporary_lab
from lablib.packets import Capture
from lablib.probe import Probe, four_probes, lost_nothing
from lablib.programs import signalled_resources
from lablib.shell import run, wait_until

cases = Cases()
# Ports of its own for whatever comes from the UR; its address is the ISP's business.
NAT = {"inside": "198.18.1.2", "outside": "198.18.1.2", "first_port": 20000}


@contextmanager
def attached_lab():
    with temporary_lab(signalled={"wait_to_restore": 5}, emulated=True) as lab:
        ur.wait_up(lab)
        ur.wait_carries(lab, "a")
        yield lab


def apply(lab, *objects):
    path = lab.directory / "change.ndjson"
    path.write_text("".join(json.dumps(o) + "\n" for o in objects))
    lab.router.drcli("apply", "-f", path)


def generation(lab):
    return ur.status(lab)["signalling"]["generation"]


def changed(lab, change):
    """Makes a change, and waits until the UR has it in force."""
    before = generation(lab)
    change()
    wait_until(lambda: generation(lab) != before, "a new attachment at the UR")


def sessions(lab):
    """What tells that a tunnel has not been disturbed: when it came up cannot be seen, how often it
    went down and how long it is up can."""
    return {x["line"]: (x["state"], x["flaps"], x["sinceMs"]) for x in ur.status(lab)["tunnels"]}


def undisturbed(before, after):
    return all(after[k][:2] == before[k][:2] and after[k][2] > before[k][2] for k in before)


@cases.case("keys are rotated without a state change and without losing a packet")
def _(lab):
    before = sessions(lab)
    probes = four_probes(lab, seconds=4)
    for number in (2, 3):
        changed(lab, lambda: lab.router.drcli("subscriber", "rotate-keys", "site-1"))
        for line in ("a", "b"):
            ur.wait_for(lab, line, {"keyNumber": number, "state": "up"})
    note = lost_nothing(probes)
    expect(undisturbed(before, sessions(lab)), f"{before} -> {sessions(lab)}")
    return note


def encapsulation_of_a(lab, encapsulation):
    site = signalled_resources(lab.sites, wait_to_restore=5)[-1]["subscriber"]
    tunnels = [{**site["tunnels"][0], "encapsulation": encapsulation}, site["tunnels"][1]]
    changed(lab, lambda: apply(lab, {"subscriber": {**site, "tunnels": tunnels}}))


def passed_on_a(lab, seconds=1):
    """(native GRE packets, UDP packets) of the tunnel, while all of four probes arrived."""
    with Capture(lab, "ispa", "ur1", f"proto 47 or udp port {ur.TUNNEL_PORT}") as capture:
        lost_nothing(four_probes(lab, seconds=seconds))
    native = sum(packet["IP"].proto == 47 for packet in capture.packets())
    return native, len(capture.packets()) - native


@cases.case("an automatic line goes over to native GRE, and no packet is lost by that")
def _(lab):
    before = sessions(lab)
    probes = four_probes(lab, seconds=9)
    encapsulation_of_a(lab, "AUTO")
    ur.wait_for(lab, "a", {"encapsulation": "GRE", "configured": "AUTO", "endpoint": t.DR_IX4})
    note = lost_nothing(probes)
    native, udp = passed_on_a(lab)
    expect(native > 1900 and udp == 0, f"{native} packets in native GRE, {udp} in UDP")
    expect(undisturbed(before, sessions(lab)), f"{before} -> {sessions(lab)}")
    one = next(x["tunnel"] for x in lab.router.drcli_json("tunnel", "list")
               if x["tunnel"]["line"] == "a")
    shown = lab.router.drcli("tunnel", "get", str(one["id"])).stdout
    expect("AUTO, now GRE\n" in shown, shown)
    return note


@cases.case("where native GRE stops passing the line goes back to UDP, and is not down for that")
def _(lab):
    before = sessions(lab)
    lab.net["ispa"].run(["nft", "-f", "-"], stdin="""
        table ip native { chain through { type filter hook forward priority 0;
            meta l4proto gre drop; }; }
        """)
    try:
        ur.wait_for(lab, "a", {"encapsulation": "GRE_UDP", "state": "up"}, seconds=3)
        wait_until(lambda: ur.tunnel(lab, "a")["suspect"] is False, "a line without suspicion")
        native, udp = passed_on_a(lab)
        expect(native == 0 and udp > 1900, f"{native} packets in native GRE, {udp} in UDP")
        expect(undisturbed(before, sessions(lab)), f"{before} -> {sessions(lab)}")
        kinds = [e.get("detail") for e in lab.router.drcli_json(
            "event", "list", "--kind", "encapsulation", "--line", "a")]
        expect(sorted(kinds) == ["GRE-in-UDP", "native GRE"], f"{kinds}")
    finally:
        lab.net["ispa"].run(["nft", "delete", "table", "ip", "native"])
        encapsulation_of_a(lab, "GRE_UDP")


@cases.case("a prefix more is carried, one less is not, and the tunnels go on")
def _(lab):
    before = sessions(lab)
    more, address = "203.0.113.128/29", "203.0.113.130"
    site = signalled_resources(lab.sites, wait_to_restore=5)[-1]["subscriber"]
    probes = [Probe(lab, "inet", "lan1", lab.sites[0].lan4, rate=500, seconds=5)]
    lab.net["lan1"].ip("address", "add", f"{address}/29", "dev", "eth0")
    lab.net["ur1"].ip("address", "add", "203.0.113.129/29", "dev", "lan0")
    changed(lab, lambda: apply(lab, {"subscriber": {**site, "prefixes": [*site["prefixes"], more]}}))
    lab.wait_in_sync()
    wait_until(lambda: lab.ping("inet", address, check=False).returncode == 0, "the new prefix")
    expect("203.0.113.128/29" in lab.net["ur1"].ip("rule").stdout, "no rule for the new prefix")
    changed(lab, lambda: apply(lab, {"subscriber": site}))
    expect("203.0.113.128/29" not in lab.net["ur1"].ip("rule").stdout, "the old rules are there")
    expect("203.0.113.128/29" not in lab.net["ur1"].ip("route", "show", "table", "4754").stdout,
           "the old route is there")
    lab.net["lan1"].ip("address", "del", f"{address}/29", "dev", "eth0")
    lab.net["ur1"].ip("address", "del", "203.0.113.129/29", "dev", "lan0")
    note = lost_nothing(probes)
    expect(undisturbed(before, sessions(lab)), f"{before} -> {sessions(lab)}")
    return note


def policy(*tiers):
    return {"policy": {"name": "a-then-b", "waitToRestoreS": 5, "classes": [{"name": "all", "tiers": [
        {"lines": [{"line": name, "weight": 1} for name in tier]} for tier in tiers]}]}}


@cases.case("a policy that puts b first moves the traffic there, and back with the first policy")
def _(lab):
    changed(lab, lambda: apply(lab, policy("b", "a")))
    ur.wait_carries(lab, "b", seconds=15)
    lost_nothing(four_probes(lab, seconds=1))
    changed(lab, lambda: apply(lab, policy("a", "b")))
    ur.wait_carries(lab, "a", seconds=15)
    return lost_nothing(four_probes(lab, seconds=1))


@cases.case("a device that vanishes is a line that is down, and is taken up when it is back")
def _(lab):
    net = lab.net["ur1"]
    net.ip("link", "set", "wan-b", "down")
    net.ip("link", "set", "wan-b", "name", "gone")
    ur.wait_for(lab, "b", {"usable": False, "state": "down"})
    net.ip("link", "set", "gone", "name", "wan-b")
    ur.link(lab, "b", True)
    ur.wait_up(lab, "b")
    ur.pings(lab)


@cases.case("with drd killed traffic goes on and changes lines")
def _(lab):
    lab.router.drd.kill()
    wait_until(lambda: not ur.status(lab)["signalling"]["connected"], "a UR without signalling",
               seconds=30)
    lab.line("a").set(cut=True)
    ur.wait_carries(lab, "b")
    note = lost_nothing(four_probes(lab, seconds=1))
    lab.line("a").clear()
    ur.wait_up(lab, "a")
    return note


@cases.case("a urd that starts while drd is away carries on with the attachment on its disk, "
            "with a device that comes later")
def _(lab):
    net = lab.net["ur1"]
    expect(lab.urds["site-1"].stop(), "urd did not end")
    net.ip("link", "set", "wan-a", "down")
    net.ip("link", "set", "wan-a", "name", "gone")
    lab.start_urd(lab.sites[0])
    ur.wait_up(lab, "b")
    expect(ur.status(lab)["signalling"]["cached"], f"{ur.status(lab)['signalling']}")
    ur.pings(lab)
    net.ip("link", "set", "gone", "name", "wan-a")
    ur.link(lab, "a", True)
    ur.wait_up(lab)
    lab.router.start_drd()
    wait_until(lambda: ur.status(lab)["signalling"]["connected"], "a UR that attached again",
               seconds=40)
    expect(not ur.status(lab)["signalling"]["cached"], "it still has the attachment from disk")
    ur.pings(lab)


@cases.case("behind a NAT on a line it keeps one pair of ports, and follows new ones of the NAT")
def _(lab):
    lab.line("a").nat(NAT)
    ur.wait_for(lab, "a", {"state": "up", "nat": True, "entropy": False}, seconds=20)
    lab.line("a").rebind()
    lab.line("b").set(cut=True)
    ur.wait_carries(lab, "a", seconds=20)
    note = lost_nothing(four_probes(lab, seconds=1))
    lab.line("b").clear()
    return note


@cases.case("a port through which nothing comes any more is given up for a new one")
def _(lab):
    lab.line("a").nat()
    ur.wait_for(lab, "a", {"state": "up", "nat": False}, seconds=20)
    port = ur.tunnel(lab, "a")["local"].rpartition(":")[2]
    lab.net["ispa"].run(["nft", "-f", "-"], stdin=f"""
        table netdev broken {{ chain in {{ type filter hook ingress device "ur1" priority 0;
            udp sport {port} udp dport {ur.TUNNEL_PORT} drop; }}; }}
        """)
    try:
        ur.wait_for(lab, "a", {"state": "down"})
        ur.wait_up(lab, "a", seconds=30)
        now = ur.tunnel(lab, "a")["local"].rpartition(":")[2]
        expect(now != port, f"it still sends from port {now}")
    finally:
        lab.net["ispa"].run(["nft", "delete", "table", "netdev", "broken"])


@cases.case("a tunnel that becomes native GRE over IPv6 comes up as that, and carries traffic")
def _(lab):
    # The kernel has taken the line's IPv6 address away when its link was down.
    theirs, ours = lab.sites[0].wan6()
    lab.net["ur1"].ip("address", "replace", f"{ours}/64", "dev", "wan-b", "nodad")
    lab.net["ur1"].ip("route", "replace", "default", "via", theirs, "dev", "wan-b")
    site = signalled_resources(lab.sites, wait_to_restore=5)[-1]["subscriber"]
    tunnels = [site["tunnels"][0], {"line": "b", "encapsulation": "GRE", "local": t.DR_IX6}]
    changed(lab, lambda: apply(lab, {"subscriber": {**site, "tunnels": tunnels}}))
    ur.wait_for(lab, "b", {"encapsulation": "GRE", "state": "up", "endpoint": t.DR_IX6})
    lab.net["ur1"].ip("link", "set", "wan-a", "down")
    ur.wait_carries(lab, "b")
    note = lost_nothing(four_probes(lab, seconds=1))
    ur.link(lab, "a", True)
    ur.wait_up(lab, "a")
    return note


def clock_of_1970(lab):
    """A library that sets a program's wall clock to some minutes of 1970."""
    source, library = lab.directory / "clock.c", lab.directory / "clock.so"
    source.write_text("""
        #define _GNU_SOURCE
        #include <sys/syscall.h>
        #include <sys/time.h>
        #include <time.h>
        #include <unistd.h>
        int clock_gettime(clockid_t id, struct timespec *t) {
            int real = id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE;
            return syscall(SYS_clock_gettime, real ? CLOCK_BOOTTIME : id, t);
        }
        time_t time(time_t *at) {
            struct timespec t;
            clock_gettime(CLOCK_REALTIME, &t);
            if (at) *at = t.tv_sec;
            return t.tv_sec;
        }
        int gettimeofday(struct timeval *at, void *zone) {
            struct timespec t;
            (void)zone;
            clock_gettime(CLOCK_REALTIME, &t);
            at->tv_sec = t.tv_sec;
            at->tv_usec = t.tv_nsec / 1000;
            return 0;
        }
        """)
    run(["cc", "-shared", "-fPIC", "-O", "-o", library, source])
    return library


@cases.case("a revocation cuts the tunnels of a UR that goes on with what it has, in under a second")
def _(lab):
    before = {line: status["tunnel"]["id"] for (_, line), status in lab.tunnels().items()}
    started = time.monotonic()
    lab.router.drcli("subscriber", "revoke", "site-1")
    seconds = time.monotonic() - started
    expect(seconds < 1, f"the command took {seconds:.1f} s")
    # In force when the command ends.
    for source, destination in (("lan1", t.INET4), ("inet", lab.sites[0].lan4)):
        answered = lab.ping(source, destination, "-W", "1", check=False).returncode == 0
        expect(not answered, f"a ping from {source} was answered")
    after = {line: status["tunnel"]["id"] for (_, line), status in lab.tunnels().items()}
    expect(all(after[x] & 0xffffff == before[x] & 0xffffff and after[x] != before[x]
               for x in before), f"{before} -> {after}")
    wait_until(lambda: not ur.status(lab)["signalling"]["connected"], "a UR without signalling")
    for line in ("a", "b"):
        ur.wait_for(lab, line, {"state": "down"})
    states = {line: status["state"] for (_, line), status in lab.tunnels().items()}
    expect(set(states.values()) == {"DOWN"}, f"{states}")
    return f"{seconds * 1000:.0f} ms"


@cases.case("with new credentials it attaches again, with a clock that says 1970, as soon as the DR's "
            "name leads to it")
def _(lab):
    expect(lab.urds["site-1"].stop(), "urd did not end")
    path, hosts = lab.directory / "urd-site-1.json", lab.directory / "hosts"
    lab.router.drcli("subscriber", "enroll", "site-1", "--out", path)
    credentials = json.loads(path.read_text())
    address, _, port = credentials["drs"][0]["addresses"][0].rpartition(":")
    credentials["drs"] = [{**credentials["drs"][0], "addresses": [f"dr1.lab.test:{port}"]}]
    path.write_text(json.dumps(credentials))
    hosts.write_text("127.0.0.1 dr1.lab.test\n")
    for old in (lab.directory / "urd-site-1-state").iterdir():
        old.unlink()
    lab.start_urd(lab.sites[0], [
        "unshare", "-m", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh",
        "env", f"LD_PRELOAD={clock_of_1970(lab)}"])
    wait_until(lambda: "dr1.lab.test" in ur.status(lab)["signalling"]["dr"] and
               ur.status(lab)["signalling"]["detail"], "an attempt that failed")
    expect(not ur.status(lab)["tunnels"], "it has tunnels without a DR")
    hosts.write_text(f"{address} dr1.lab.test\n")
    wait_until(lambda: ur.status(lab)["tunnels"], "an attachment")
    ur.wait_up(lab)
    expect(not ur.status(lab)["signalling"]["cached"], f"{ur.status(lab)['signalling']}")
    return lost_nothing(four_probes(lab, seconds=1))


@cases.case("a UR without an attachment, whose main line is dead when it starts, attaches over the "
            "other")
def _(lab):
    expect(lab.urds["site-1"].stop(), "urd did not end")
    (lab.directory / "urd-site-1.json").unlink()  # a new one, with the DR's address
    for old in (lab.directory / "urd-site-1-state").iterdir():
        old.unlink()
    lab.line("a").set(cut=True)
    lab.start_urd(lab.sites[0])
    wait_until(lambda: ur.status(lab)["signalling"]["connected"], "an attachment", seconds=30)
    expect("over wan-b" in ur.status(lab)["signalling"]["dr"], f"{ur.status(lab)['signalling']}")
    ur.wait_up(lab, "b")
    note = lost_nothing(four_probes(lab, seconds=1))
    lab.line("a").clear()
    ur.wait_up(lab, "a")
    return note


@cases.case("urd that stands still for 15 s loses nothing: its data path is whole, and the DR goes on "
            "sending over the line from which data comes, and then over the last line")
def _(lab):
    def states():
        return {line: x["state"] for (_, line), x in lab.tunnels().items()}

    ur.wait_carries(lab, "a", seconds=30)
    with ur.stopped(lab):
        probes = four_probes(lab, seconds=6)
        # It is silent for longer than the other one.
        wait_until(lambda: states() == {"a": "UP", "b": "DOWN"},
                   "the tunnel that carries up, the other one down at the DR", interval=0.05)
        note = lost_nothing(probes)
        site = lab.sites[0]
        probes = [Probe(lab, "inet", "lan1", address, rate=500, seconds=8)
                  for address in (site.lan4, site.lan6)]
        wait_until(lambda: set(states().values()) == {"DOWN"}, "both tunnels down at the DR")
        lost_nothing(probes)
    ur.wait_up(lab)
    return note


if __name__ == "__main__":
    sys.exit(cases.run(attached_lab, describe=Lab.describe))
