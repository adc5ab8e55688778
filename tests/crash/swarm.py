#!/usr/bin/python3
"""Fifty simulated URs with two lines each at the real dr-dataplane: who dies, lies or is cut off.

`scripts/bench keepalive` does the same at full size. It needs no network: the URs' packets pass
through shared memory.
"""

import os
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests" / "bench"), str(ROOT / "tests" / "swarm")]

import forge
import packets
from lablib.cases import Cases, expect
from lablib.shell import wait_until
from swarm_lab import SwarmLab

SITES = 50
TUNNELS = 2 * SITES
UPLINK, DOWNLINK = 1000, 1000  # packets a second of all sites
FORGED = 1000  # of each kind
UP_LIMIT = 30
cases = Cases()


@contextmanager
def lab_of_sites():
    build = os.environ.get("DR_BUILD") or str(ROOT / "build")
    with tempfile.TemporaryDirectory(prefix="dr-swarm-") as work:
        with SwarmLab(build, work, SITES) as lab:
            yield lab


def describe(lab):
    return f"{lab.status()}\n{lab.dataplane.text()[-1000:]}"


def settled(lab):
    wait_until(lab.settled, "each line of each site Up and eligible", seconds=UP_LIMIT)


def grown(lab, seconds):
    """How much each count of the URs grows in this time."""
    before = lab.status()
    time.sleep(seconds)  # the length of a measurement
    after = lab.status()
    return {k: v - before[k] for k, v in after.items() if type(v) is int}


def data_passes(lab, kept=0.98):
    """A second's data; what is under way at its ends may be missing."""
    wait_until(lambda: grown(lab, 0.2)["uplink_sent"] > 0, "sites send", seconds=UP_LIMIT)

    def whole():
        g = grown(lab, 1)
        return all(g[f"{way}_delivered"] >= kept * g[f"{way}_sent"] > 0
                   for way in ("uplink", "downlink"))
    wait_until(whole, f"data passes in both directions: {lab.status()}", seconds=UP_LIMIT)


def restart_dataplane(lab):
    """Milliseconds until everything is back, by itself."""
    killed = lab.kill_dataplane()
    lab.start_dataplane()

    def back():
        found = lab.ask("recovery")
        return (found["up"]["count"] == TUNNELS and
                found["uplink"]["count"] == found["downlink"]["count"] == SITES and found)
    found = wait_until(back, "everything is back", seconds=UP_LIMIT)
    settled(lab)
    return max(found[k]["last"] for k in ("up", "uplink", "downlink")) - 1000 * killed


@cases.case(f"all {TUNNELS} tunnels of {SITES} URs come up: learned and configured endpoints, "
            "native GRE and GRE-in-UDP, IPv4 and IPv6 outside", needed=True)
def _(lab):
    settled(lab)
    reader = lab.reader()
    view = reader.liveness()
    wait_until(lambda: view.up() == TUNNELS, f"{TUNNELS} rows of the liveness memfd Up")
    view.close()
    reader.close()


@cases.case("none goes down in five seconds with data, at either end, and about ten keepalives a "
            "second arrive in each")
def _(lab):
    lab.ask(f"traffic {UPLINK} {DOWNLINK}")
    reader = lab.reader()
    view = reader.liveness()
    before = view.statistics()
    urs = grown(lab, 5)
    after = view.statistics()
    view.close()
    reader.close()
    expect(urs["downs"] == 0 and after["downs"] == before["downs"], f"down: {urs}, {after}")
    expect(urs["received"] > 8 * 5 * TUNNELS, f"URs received {urs['received']} in 5 s")
    expect(after["received"] - before["received"] > 8 * 4 * TUNNELS, f"DR: {before}, {after}")
    data_passes(lab)


@cases.case("kill -9 of dr-dataplane and start: each tunnel is up and each site's data passes again, "
            "without a hand")
def _(lab):
    return f"all back {restart_dataplane(lab):.0f} ms after the kill"


@cases.case("kill -9 of drd: nothing goes down, data goes on; a line that is cut at every site "
            "without a word is left, and taken again when it is mended")
def _(lab):
    data_passes(lab)
    lab.drd.kill()
    alone = grown(lab, 3)
    expect(alone["downs"] == 0, f"went down: {alone}")
    lab.ask("cut 1")
    wait_until(lambda: lab.status()["up"] == SITES, "the cut lines down", seconds=5)
    data_passes(lab)
    lab.ask("mend 1")
    wait_until(lab.all_up, "the mended lines up", seconds=UP_LIMIT)
    data_passes(lab)
    lab.start_drd()
    lab.wait_in_sync()
    data_passes(lab)


@cases.case("forged, stolen, truncated, replayed and reflected keepalives change no tunnel's state "
            "or endpoint, and no live tunnel is lost")
def _(lab):
    frames = {}
    for direction in ("sent", "received"):
        path = f"{lab.work}/{direction}.pcap"
        lab.ask(f"capture {direction} {FORGED} {path}")
        wait_until(lambda: not lab.status()["capturing"], f"{FORGED} keepalives {direction}")
        frames[direction] = forge.read_pcap(path)
    flood = forge.forge("mixed", frames["sent"], frames["received"], FORGED * len(forge.CHANGES))
    packets.write_pcap(f"{lab.work}/flood.pcap", flood)
    lab.extra_ports = [{"name": "flood", "kind": "pcap", "rx": [f"{lab.work}/flood.pcap"],
                        "gated": True, "mac": "02:00:00:00:00:01"}]
    restart_dataplane(lab)
    reader = lab.reader()
    view, exits = reader.liveness(), reader.counters()
    # The threads add up about once a second.
    wait_until(lambda: view.statistics()["ups"] == TUNNELS, "the DR's count of tunnels")
    known, before = view.statistics(), sum(exits.exits().values())
    urs = lab.status()
    reader.advance_gate(1)
    wait_until(lambda: sum(exits.exits().values()) >= before + len(flood), "the flood has passed")
    wait_until(lambda: view.statistics()["bad_tag"] > known["bad_tag"], "forgeries are counted")
    data_passes(lab)
    after = view.statistics()
    for handle in (view, exits, reader):
        handle.close()
    expect(lab.status()["downs"] == urs["downs"] and after["downs"] == known["downs"],
           f"went down: {lab.status()}\n{known}\n{after}")
    for name in ("adopted_endpoints", "adopted_salts"):
        expect(after[name] == known[name], f"{name}: {known} {after}")
    expect(lab.status()["bad_tag"] == 0, f"a UR's engine refused what the DR sent: {lab.status()}")
    refused = sum(after[n] - known[n] for n in ("malformed", "bad_tag", "replayed", "other_source"))
    return f"{len(flood)} frames; {refused} refused by the engine, the others before it"


if __name__ == "__main__":
    sys.exit(cases.run(lab_of_sites, describe))
