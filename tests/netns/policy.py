#!/usr/bin/python3
"""Changes of a policy while a site's traffic runs: sessions stay, no packet is lost; limits of quality."""

import json
import sys
import time
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from lablib import switching, ur
from lablib.cases import Cases, expect
from lablib.lab import Lab, temporary_lab
from lablib.shell import wait_until
from lablib.stream import site_streams

cases = Cases()
RATE = 1000
POLICY = "a-then-b"


@contextmanager
def attached_lab():
    with temporary_lab(signalled={"wait_to_restore": 2}, emulated=True) as lab:
        yield lab


def apply(lab, *tiers, **limits):
    """The site's policy anew, one class; in force at both ends when this returns. Tiers: "a", "b*3 c"."""
    named = []
    for tier in tiers:
        lines = [(*entry.split("*"), "1")[:2] for entry in tier.split()]
        named.append({"lines": [{"line": line, "weight": int(weight)} for line, weight in lines]})
    policy = {"name": POLICY, "waitToRestoreS": 2,
              "classes": [{"name": "all", "tiers": named, **limits}]}
    path = lab.directory / "policy.json"
    path.write_text(json.dumps({"policy": policy}))
    lab.router.drcli("apply", "-f", path)
    lab.wait_in_sync()
    generation = int(stored(lab)["revision"])
    wait_until(lambda: all(t["liveness"].get("peerPolicyGeneration") == generation & 0xffff
                           for t in lab.tunnels().values()),
               f"the UR at policy generation {generation}", interval=0.05)


def stored(lab):
    return lab.router.drcli_json("policy", "get", POLICY)


def numbers(lab):
    return {n["line"]: n.get("number", 0) for n in stored(lab)["lineNumbers"]}


def changes(lab):
    """Changes of state of the sessions so far, as the DR has logged them."""
    return lab.router.drcli_json("event", "list", "--subscriber", "site-1", "--kind", "state")


def tunnel(lab, line):
    return lab.tunnels()["site-1", line]["liveness"]


@cases.case("lines that come, go, change places and weights restart no session and lose no packet")
def _(lab):
    ur.wait_up(lab)
    ur.pings(lab)
    wait_until(lambda: {change["line"] for change in changes(lab) if change["to"] == "UP"} ==
               set(switching.LINES), "both lines up in the event log")
    before, said = changes(lab), lab.urds["site-1"].output().count("event=state")
    ours = numbers(lab)
    with site_streams(lab, rate=RATE) as running:
        time.sleep(0.3)
        begin = time.monotonic_ns()
        apply(lab, "c", "a", "b")
        expect(numbers(lab) == {**ours, "c": 2}, f"{numbers(lab)}")
        apply(lab, "d b", "a c")
        wait_until(lambda: switching.carrying(lab, RATE) == "b", "both streams on line b")
        apply(lab, "a*3 b")
        apply(lab, "a", "b")
        wait_until(lambda: switching.carrying(lab, RATE) == "a", "both streams on line a")
        time.sleep(0.2)
        end = time.monotonic_ns()
        results = {way: one.end().window(begin, end) for way, one in running.items()}
    expect(numbers(lab) == ours, f"{numbers(lab)}, before {ours}")
    for way, r in results.items():
        expect(r["lost"] == 0, f"{way}: {r['lost']} of {r['packets']} packets lost: {r}")
    expect(changes(lab) == before, f"{changes(lab)}, before {before}")
    events = lab.urds["site-1"].output().count("event=state")
    expect(events == said, f"urd tells of {events - said} changes of state")
    return ", ".join(f"{way} {r['packets']} packets, {r['reordered']} reordered"
                     for way, r in results.items())


@cases.case("a line beyond a class's limits is left, drcli says why, and comes back without them")
def _(lab):
    lab.line("a").set(delay=30)
    apply(lab, "a", "b", maxRttMs=40, maxLossPermille=100)
    # Packets of a flow stand far enough apart for its bucket to be idle between them.
    with site_streams(lab, rate=100) as running:
        wait_until(lambda: switching.carrying(lab, 100, 0.5) == "b", "both streams on line b",
                   seconds=20)
        results = {way: one.end() for way, one in running.items()}
    for way, recording in results.items():
        lost = sum(at == 0 for at in recording.arrived)
        expect(lost == 0, f"{way}: {lost} packets lost by the change of lines")
    said = tunnel(lab, "a")
    expect(said["ineligible"] == "quality outside the policy's limits", f"{said}")
    broken = said["brokenLimits"][0]
    expect(broken["className"] == "all" and broken["maxRttMs"] == 40 and broken["rttUs"] > 55_000,
           f"{broken}")
    at_ur = ur.wait_for(lab, "a", {"ineligible": "quality outside the policy's limits"})
    expect(at_ur["state"] == "up" and not at_ur["carries"], f"{at_ur}")
    shown = lab.router.drcli("tunnel", "get", str(lab.tunnels()["site-1", "a"]["tunnel"]["id"])).stdout
    expect("of at most 40ms" in shown, shown)
    shown = lab.router.drcli("policy", "get", POLICY).stdout
    expect("40 ms" in shown and "10" in shown and "the least bad" in shown, shown)
    apply(lab, "a", "b")
    wait_until(lambda: tunnel(lab, "a").get("active"), "line a in use again", seconds=3)


@cases.case("with every line beyond a strict class's limits its packets are dropped and their "
            "senders told; else they pass")
def _(lab):
    for line in switching.LINES:
        lab.line(line).set(delay=30)
    apply(lab, "a", "b", maxRttMs=40)
    wait_until(lambda: all(tunnel(lab, line).get("brokenLimits") for line in switching.LINES),
               "both lines beyond the limit", seconds=20)
    ur.pings(lab)
    apply(lab, "a", "b", maxRttMs=40, strict=True)
    wait_until(lambda: not any(x["carries"] for x in ur.status(lab)["tunnels"]), "no line in use")
    dropped = lab.counters()["drop.no_tunnel"]
    said = lab.ping("inet", lab.sites[0].lan4, check=False).stdout
    expect(lab.counters()["drop.no_tunnel"] > dropped, "no packet was dropped as without a tunnel")
    expect("Destination Host Unreachable" in said, f"the sender is not told: {said}")
    said = lab.ping("inet", lab.sites[0].lan6, check=False).stdout
    expect("Address unreachable" in said, f"the sender is not told: {said}")
    apply(lab, "a", "b")
    ur.pings(lab)
    for line in switching.LINES:
        lab.line(line).clear()


if __name__ == "__main__":
    sys.exit(cases.run(attached_lab, Lab.describe))
