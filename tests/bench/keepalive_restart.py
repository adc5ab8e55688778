"""scripts/bench keepalive --restart: kill -9 of dr-dataplane, and of drd, with 1,000 simulated URs.

dr-dataplane: from the kill until the new process is ready, from then until each tunnel is Up, and
from the kill until each site's data passes again in each direction.
drd: everything goes on, and switches: while it is dead a line is cut at every site, silently.
"""

import json
import statistics
import time

from keepalive_soak import PROFILES, START_LIMIT, Side
from lablib.shell import LabError, wait_until
from swarm_lab import SwarmLab

BACK_LIMIT = 30
SWITCH = 2  # seconds after which data must pass over the other line
JUDGED = 3  # seconds that are counted then


def all_back(lab: SwarmLab) -> bool:
    found = lab.ask("recovery")
    return (found["up"]["count"] == len(lab.tunnels) and
            found["uplink"]["count"] == found["downlink"]["count"] == lab.sites)


def restart_dataplane(lab: SwarmLab) -> dict[str, float]:
    """Milliseconds."""
    killed = lab.kill_dataplane() * 1000
    lab.start_dataplane()
    ready = time.monotonic() * 1000
    wait_until(lambda: all_back(lab), f"all tunnels Up and all sites' data back: {lab.status()}",
               seconds=BACK_LIMIT)
    wait_until(lab.settled, "all lines eligible", seconds=BACK_LIMIT)
    found = lab.ask("recovery")
    return {"ready_ms": ready - killed,
            "up_median_ms": found["up"]["median"] - ready, "up_last_ms": found["up"]["last"] - ready,
            "uplink_last_ms": found["uplink"]["last"] - killed,
            "downlink_last_ms": found["downlink"]["last"] - killed,
            "all_ms": max(found[k]["last"] for k in ("up", "uplink", "downlink")) - killed}


def dataplane(lab: SwarmLab, rounds: int) -> dict:
    samples = [restart_dataplane(lab) for _ in range(rounds)]
    result = {"name": "keepalive.restart", "who": "dr-dataplane", "urs": lab.sites,
              "tunnels": len(lab.tunnels), "rounds": rounds}
    for name in samples[0]:
        result[name] = round(statistics.median(s[name] for s in samples))
    return result | {"all_worst_ms": round(max(s["all_ms"] for s in samples))}


def delivered(lab: SwarmLab, seconds: float) -> float:
    """Share of the data that is sent meanwhile."""
    before = lab.status()
    time.sleep(seconds)
    after = lab.status()
    grown = lambda *names: sum(after[n] - before[n] for n in names)
    return (grown("uplink_delivered", "downlink_delivered") /
            max(1, grown("uplink_sent", "downlink_sent")))


def control(lab: SwarmLab, dead: float) -> dict:
    urs = Side(lab.status)
    lab.drd.kill()
    share = delivered(lab, dead)
    downs = urs.since("downs")
    lab.ask("cut 1")
    time.sleep(SWITCH)
    switched = delivered(lab, JUDGED)
    lab.ask("mend 1")
    wait_until(lab.all_up, "the cut line Up again", seconds=BACK_LIMIT)
    before = urs.since("downs")
    lab.start_drd()
    lab.wait_in_sync()
    return {"name": "keepalive.restart", "who": "drd", "urs": lab.sites, "tunnels": len(lab.tunnels),
            "seconds_dead": dead, "false_down": downs + urs.since("downs") - before,
            "delivered": round(share, 4), "delivered_after_cut": round(switched, 4)}


def run(build: str, work: str, options, emit) -> int:
    try:
        with SwarmLab(build, work, options.tunnels // 2, profile=PROFILES[options.per_second]) as lab:
            wait_until(lab.settled, f"{options.tunnels} tunnels Up: {lab.status()}",
                       seconds=START_LIMIT, interval=0.2)
            lab.ask(f"traffic {options.data} {options.data}")
            first = dataplane(lab, options.rounds)
            emit(json.dumps(first))
            second = control(lab, options.seconds)
            emit(json.dumps(second))
    except LabError as error:
        raise SystemExit(f"bench: {error}") from error
    good = (first["all_worst_ms"] <= 3000 and second["false_down"] == 0 and
            second["delivered_after_cut"] > 0.99)
    return 0 if good else 1
