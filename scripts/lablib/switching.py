"""What a lab with `signalled=` and `emulated=True` does with its two lines: which carries traffic, what
the UR thinks of them, and how they fail."""

import json
import time

from .shell import wait_until

LINES = ("a", "b")
OTHER = {"a": "b", "b": "a"}
# An emulator's directions: to the UR, and from it.
TO_UR, FROM_UR = "ab", "ba"


def carrying(lab, rate=1000, seconds=0.1, site=1):
    """The line that takes both directions of streams of `rate` packets a second, or None.

    More than half of the stream passes it; keepalives are few beside that.
    """
    before = {name: lab.line(name, site).counters() for name in LINES}
    time.sleep(seconds)
    for name in LINES:
        now = lab.line(name, site).counters()
        if all(now[d]["sent"] - before[name][d]["sent"] > 0.6 * rate * seconds
               for d in (TO_UR, FROM_UR)):
            return name
    return None


def states(lab, site=1):
    """What the UR says of its tunnels: {line: "up", ...}. Nothing while it does not answer."""
    answer = lab.net[f"ur{site}"].run([lab.programs.urd, "status", "--json"], check=False)
    if answer.returncode != 0:
        return {}
    return {tunnel["line"]: tunnel["state"] for tunnel in json.loads(answer.stdout)["tunnels"]}


def wait_up(lab, lines=LINES, seconds=30, site=1):
    wait_until(lambda: all(states(lab, site).get(line) == "up" for line in lines),
               f"the tunnels of lines {', '.join(lines)} up", seconds=seconds, interval=0.05)


def unplug(lab, line, site=1):
    """The UR sees its link go down."""
    lab.line(line, site).namespace.ip("link", "set", "line-b", "down")


def mend(lab, line, site=1):
    """No impairment, link up."""
    lab.line(line, site).clear()
    lab.line(line, site).namespace.ip("link", "set", "line-b", "up")
