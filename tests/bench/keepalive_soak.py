"""scripts/bench keepalive --soak: simulated URs against the real dr-dataplane; nothing may go down."""

import json
import sys
import time

from dut import thread_cpu_times
from lablib.shell import LabError, wait_until
from swarm_lab import SwarmLab

PROFILES = {10: "FIXED", 5: "MOBILE", 2: "METERED"}  # by keepalives a second while active
START_LIMIT = 120
SAMPLE = 10


class Side:
    """Counts since the beginning, of the URs together or of the DR."""

    def __init__(self, read):
        self.read, self.first = read, read()

    def since(self, name: str) -> int:
        return self.read()[name] - self.first[name]


class Fresh:
    """The liveness threads add up about once a second: values of the moment they do, and when."""

    def __init__(self, view):
        self.view = view

    def __call__(self) -> tuple[float, dict[str, int]]:
        before = self.view.statistics()
        wait_until(lambda: self.view.statistics() != before, "the DR's statistics", interval=0.001)
        return time.monotonic(), self.view.statistics()


class Cpu:
    """Seconds of CPU a second, of the busiest threads of some processes."""

    def __init__(self, processes: dict):
        self.processes = processes
        self.began, self.first = time.monotonic(), self.read()

    def read(self) -> dict[str, list[float]]:
        return {name: thread_cpu_times(p.popen.pid) for name, p in self.processes.items()}

    def shares(self) -> dict[str, list[float]]:
        seconds = time.monotonic() - self.began
        shares = {}
        for name, threads in self.read().items():
            used = [(t - self.first[name].get(task, 0)) / seconds for task, t in threads.items()]
            shares[name] = [round(u, 2) for u in sorted(used, reverse=True) if u >= 0.01]
        return shares


def keepalives(exits: dict[str, int]) -> int:
    """That workers have handed to the liveness threads."""
    return exits["punt.keepalive"]


def watch(lab: SwarmLab, seconds: float, urs: Side, dr: Side) -> None:
    """Says at once, on standard error, when something goes down."""
    end = time.monotonic() + seconds
    said = 0
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(SAMPLE, left))
        downs = urs.since("downs") + dr.since("downs")
        if downs > said:
            print(f"bench: {urs.since('downs')} of the URs' tunnels and {dr.since('downs')} of the "
                  f"DR's went down; the first: {lab.status()['first_downs'][:3]}", file=sys.stderr)
            said = downs


def soak(build: str, work: str, options) -> tuple[dict, bool]:
    """The result, and whether it is good."""
    with SwarmLab(build, work, options.tunnels // 2, profile=PROFILES[options.per_second],
                  start_rate=options.start_rate) as lab:
        wait_until(lab.settled, f"{options.tunnels} tunnels Up and eligible: {lab.status()}",
                   seconds=START_LIMIT, interval=0.5)
        lab.ask(f"traffic {options.data} {options.data}")
        reader = lab.reader()
        view = reader.liveness()
        exits, fresh = reader.counters(), Fresh(view)
        buffers = lab.buffers()
        begin, first = fresh()
        urs, dr = Side(lab.status), Side(view.statistics)
        taken = keepalives(exits.exits())
        cpu = Cpu({"dr-dataplane": lab.dataplane, "swarm": lab.swarm})
        watch(lab, options.seconds, urs, dr)
        per_tunnel = options.tunnels * options.seconds
        sent, taken = urs.since("sent"), keepalives(exits.exits()) - taken
        end, last = fresh()
        heard = (last["received"] - first["received"]) / (end - begin) / options.tunnels
        result = {
            "name": "keepalive.soak", "tunnels": options.tunnels, "per_second": options.per_second,
            "seconds": options.seconds, "false_down": urs.since("downs") + dr.since("downs"),
            "false_down_urs": urs.since("downs"), "false_down_dr": dr.since("downs"),
            "up_urs": lab.status()["up"], "up_dr": view.up(),
            "received_per_second_urs": round(urs.since("received") / per_tunnel, 2),
            "received_per_second_dr": round(heard, 2),
            "sent_urs": sent, "lost_uplink": sent - taken,
            "lost_before_port": urs.since("lost"),  # the data plane did not poll for long
            "data_sent": urs.since("uplink_sent") + urs.since("downlink_sent"),
            "data_delivered": urs.since("uplink_delivered") + urs.since("downlink_delivered"),
            # Packets on their way make it waver.
            "buffers_before": buffers, "buffers_after": lab.buffers(),
            "cpu": cpu.shares()}
        for handle in (view, exits, reader):
            handle.close()
    good = (result["false_down"] == 0 and result["up_urs"] == result["up_dr"] == options.tunnels and
            result["received_per_second_dr"] >= options.per_second)
    return result, good


def run(build: str, work: str, options, emit) -> int:
    try:
        result, good = soak(build, work, options)
    except LabError as error:
        raise SystemExit(f"bench: {error}") from error
    emit(json.dumps(result))
    return 0 if good else 1
