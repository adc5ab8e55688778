"""scripts/bench keepalive --flood: forged keepalives at the full rate of a port.

Two in-memory ports feed one polling worker as fast as it takes packets, in turn: one with data for
sites without keepalives, which is forwarded to a third port, one with the flood. At a fourth the
simulated URs are alive. The reference is a flood of data of
the same sizes for the same tunnels, dropped because it comes from elsewhere.
Each round runs both, with a data plane started anew; the flood begins when the URs are up.
"""

import json
import random
import statistics
import time

import forge
import packets
from keepalive_soak import PROFILES, START_LIMIT, Fresh, Side
from lablib.shell import LabError, wait_until
from swarm_lab import STILL_SITES, SwarmLab, still_host

CAPTURED = 8_000  # frames at most
CAPTURED_EACH = 10  # of a tunnel
AFTERMATH = 1.5  # seconds of flood after the sample, for tunnels to go down that will
FRAMES = 8_192
STILL = 1_000
OUTSIDE = bytes([8, 8, 8, 8])


def write_data(path: str) -> None:
    random.seed(1)
    frames = [packets.frame(packets.inner_packet(OUTSIDE, still_host(n % STILL), 60,
                                                 packets.random_ports())) for n in range(FRAMES)]
    packets.write_pcap(path, frames)


def ports(data: str, flood: str) -> list[dict]:
    source = {"kind": "pcap", "infinite": True, "gated": True, "mac": "02:00:00:00:00:01"}
    return [{"name": "data", "rx": [data]} | source, {"name": "flood", "rx": [flood]} | source,
            {"name": "out", "kind": "null", "mtu": 1600, "mac": "02:00:00:00:00:02",
             "addresses": ["198.51.100.1/24"],
             "routes": [{"prefix": STILL_SITES, "via": "198.51.100.254"}],
             "neighbours": [{"address": "198.51.100.254", "mac": "02:00:00:00:00:fe"}]}]


def capture(lab: SwarmLab, direction: str) -> list[bytes]:
    path = f"{lab.work}/{direction}.pcap"
    frames = min(CAPTURED, CAPTURED_EACH * len(lab.tunnels))
    lab.ask(f"capture {direction} {frames} {path}")
    wait_until(lambda: not lab.status()["capturing"], f"{frames} keepalives {direction}",
               seconds=START_LIMIT)
    return forge.read_pcap(path)


def sample(lab: SwarmLab, seconds: float) -> dict:
    """Under the flood: packets a second by exit, and what went down."""
    wait_until(lambda: lab.ask("recovery")["up"]["count"] == len(lab.tunnels) and lab.settled(),
               f"all tunnels Up again: {lab.status()}", seconds=START_LIMIT)
    reader = lab.reader()
    view, exits = reader.liveness(), reader.counters()
    fresh = Fresh(view)
    _, begin = fresh()
    urs = Side(lab.status)
    reader.advance_gate(1)
    first, started = exits.exits(), time.monotonic()
    time.sleep(seconds)
    last, took = exits.exits(), time.monotonic() - started
    received = urs.since("received") / took
    time.sleep(AFTERMATH)
    _, end = fresh()
    rates = {k: (last[k] - first[k]) / took / 1e6 for k in last}
    found = {"forwarded": rates["forwarded.downlink"],
             "dropped": sum(v for k, v in rates.items() if k.startswith("drop.")),
             "down": urs.since("downs") + end["downs"] - begin["downs"],
             "keepalive": {k: round(v, 3) for k, v in rates.items() if "keepalive" in k and v},
             "received": received}
    for view_ in (view, exits, reader):
        view_.close()
    return found


def flooded(lab: SwarmLab, frames: list[bytes], seconds: float) -> dict:
    path = f"{lab.work}/flood.pcap"
    packets.write_pcap(path, frames)
    lab.extra_ports = ports(f"{lab.work}/data.pcap", path)
    lab.kill_dataplane()
    lab.start_dataplane()
    lab.wait_in_sync()
    return sample(lab, seconds)


def compare(lab: SwarmLab, kind: str, sent, received, options) -> dict:
    samples = {kind: [], forge.REFERENCE: []}
    for _ in range(options.rounds):
        for name, found in samples.items():
            found.append(flooded(lab, forge.forge(name, sent, received, FRAMES), options.seconds))
    ours, reference = samples[kind], samples[forge.REFERENCE]
    median = lambda found, name: statistics.median(s[name] for s in found)
    return {"name": "keepalive.flood", "kind": kind, "tunnels": len(lab.tunnels),
            "rounds": options.rounds, "seconds": options.seconds,
            "flood_mpps": round(median(ours, "dropped"), 3),
            "forwarded_mpps": round(median(ours, "forwarded"), 3),
            "reference_mpps": round(median(reference, "forwarded"), 3),
            "ratio": round(statistics.median(a["forwarded"] / b["forwarded"]
                                             for a, b in zip(ours, reference)), 3),
            "false_down": sum(s["down"] for s in ours),
            "false_down_reference": sum(s["down"] for s in reference),
            "keepalive_mpps": ours[-1]["keepalive"],
            "received_per_second": round(median(ours, "received") / len(lab.tunnels), 2)}


def run(build: str, work: str, options, emit) -> int:
    good = True
    try:
        # The ports' pcaps are copied into buffers.
        with SwarmLab(build, work, options.tunnels // 2, profile=PROFILES[options.per_second],
                      idle="poll", still=STILL, mbufs=4 * FRAMES + 16_384, swarm_cpu=0,
                      huge=options.huge) as lab:
            wait_until(lab.settled, f"{options.tunnels} tunnels Up: {lab.status()}",
                       seconds=START_LIMIT, interval=0.2)
            sent, received = capture(lab, "sent"), capture(lab, "received")
            write_data(f"{work}/data.pcap")
            for kind in options.kinds or ["mixed"]:
                result = compare(lab, kind, sent, received, options)
                emit(json.dumps(result))
                good = good and result["false_down"] == 0
    except LabError as error:
        raise SystemExit(f"bench: {error}") from error
    return 0 if good else 1
