#!/usr/bin/python3
"""What an operator sees with drcli while a site's lines fail and come back: states, quality, events."""

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from lablib import switching
from lablib.cases import Cases, expect
from lablib.lab import Lab, temporary_lab
from lablib.shell import wait_until

cases = Cases()
# Rounded down by the emulator's clock and by the smoothing.
DELAY_MS, RTT_MS = 20, 35


@contextmanager
def attached_lab():
    with temporary_lab(signalled={"wait_to_restore": 2}, emulated=True) as lab:
        yield lab


def tunnel(lab, line):
    return lab.tunnels()["site-1", line]


def events(lab, *arguments):
    """Of site-1, oldest first."""
    return lab.router.drcli_json("event", "list", "--subscriber", "site-1", *arguments)[::-1]


def last_id(lab):
    return max((e["id"] for e in lab.router.drcli_json("event", "list", "--limit", "1")), default=0)


def changes(lab, line, after):
    """States that the line's tunnel went to, with cause, outage, endpoint."""
    return [e for e in events(lab, "--kind", "state", "--line", line) if e["id"] > after]


def wait_change(lab, line, to, after, seconds=30):
    def found():
        return next((e for e in changes(lab, line, after) if e["to"] == to), None)
    return wait_until(found, f"an event that line {line} went {to}", seconds=seconds)


def down_and_up(lab, line, after):
    """Cuts the line until the log says so, mends it; the two events."""
    lab.line(line).set(cut="all")
    down = wait_change(lab, line, "DOWN", after)
    switching.mend(lab, line)
    return down, wait_change(lab, line, "UP", down["id"])


@cases.case("tunnel list shows both tunnels UP with round trip, loss and the URs' endpoints")
def _(lab):
    switching.wait_up(lab)
    for line in switching.LINES:
        wait_until(lambda n=line: tunnel(lab, n)["state"] == "UP", f"line {line} UP")
        wait_until(lambda n=line: tunnel(lab, n)["liveness"]["srttUs"] > 0, f"an RTT of line {line}")
        wait_until(lambda n=line: tunnel(lab, n)["liveness"]["peerState"] == "UP",
                   f"the peer's state of line {line}")
        live = tunnel(lab, line)["liveness"]
        expect(live["endpoint"].startswith(lab.sites[0].wan4(line)[1] + ":"), f"{live}")
        wait_until(lambda n=line: tunnel(lab, n)["liveness"]["windows"][1].get("lossUplinkPermille")
                   is not None, f"the loss of line {line}", seconds=20)
    table = lab.router.drcli("tunnel", "list").stdout
    expect(table.count("  UP  ") == 2 and "ms" in table, table)
    found = lab.router.drcli_json("tunnel", "list", "--state", "UP")
    expect(len(found) == 2, f"--state UP: {found}")
    # Counted once a second, whoever asks.
    wait_until(lambda: lab.router.drcli_json("system", "status")["keepalives"]["up"] == 2,
               "both tunnels counted as UP by system status")


@cases.case("the round-trip time that tunnel list shows follows the line's delay")
def _(lab):
    lab.line("b").set(delay=DELAY_MS)
    wait_until(lambda: tunnel(lab, "b")["liveness"]["windows"][0]["rttAvgUs"] > RTT_MS * 1000,
               f"an RTT over {RTT_MS} ms", seconds=20)
    expect(tunnel(lab, "a")["liveness"]["windows"][0]["rttAvgUs"] < RTT_MS * 1000, "line a's")
    switching.mend(lab, "b")


@cases.case("event watch shows that a line went down and why, and its outage when it is back")
def _(lab):
    before = last_id(lab)
    command = lab.router.drcli_command("event", "watch", "--kind", "state", "--line", "a",
                                       "--after", str(before), "-o", "json")
    watching = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    try:
        down, up = down_and_up(lab, "a", before)
        seen = []
        while not seen or seen[-1]["id"] < up["id"]:
            line = watching.stdout.readline()
            expect(line != "", f"event watch ended after {seen}")
            seen.append(json.loads(line))
    finally:
        watching.kill()
        watching.communicate()
    expect(seen == [e for e in changes(lab, "a", before) if e["id"] <= up["id"]],
           f"the watch and the list differ: {seen}")
    expect(down["from"] == "UP" and down["cause"], f"{down}")
    expect(down["subscriber"] == "site-1" and down["endpoint"], f"{down}")
    expect(up.get("outageMs", 0) > 300, f"{up}")
    return f"{down['cause']}; {up['outageMs']:.0f} ms"


@cases.case("a line that came back carries traffic again, and its flap is counted")
def _(lab):
    def why():
        return tunnel(lab, "a")["liveness"]
    wait_until(lambda: why()["active"] and not why()["ineligible"], "line a in use", seconds=60)
    expect(why()["flaps"] >= 1, f"{why()}")


@cases.case("what happens while drd is away is in the log when it is back, once")
def _(lab):
    before = last_id(lab)
    lab.router.drd.kill()
    try:
        lab.line("b").set(cut="all")
        wait_until(lambda: switching.states(lab).get("b") == "down", "the UR sees line b down",
                   seconds=20)
    finally:
        lab.router.start_drd()
        lab.wait_in_sync()
    down = wait_change(lab, "b", "DOWN", before)
    switching.mend(lab, "b")
    wait_change(lab, "b", "UP", down["id"])
    found = [e["to"] for e in changes(lab, "b", before)]
    expect(found.count("DOWN") == 1 and found.count("UP") == 1, f"{found}")
    expect(not [e for e in lab.router.drcli_json("event", "list", "--kind", "missed")], "missed")


@cases.case("another start of the data plane is an event, and its tunnels come up in the log")
def _(lab):
    before = last_id(lab)
    lab.router.dataplane.kill()
    wait_until(lambda: tunnel(lab, "a")["state"] == "PENDING", "PENDING without a data plane")
    lab.router.start_dataplane()
    lab.wait_in_sync()
    for line in switching.LINES:
        wait_change(lab, line, "UP", before)
    starts = [e for e in lab.router.drcli_json("event", "list", "--kind", "data-plane")
              if e["id"] > before]
    expect(len(starts) == 1, f"{starts}")


if __name__ == "__main__":
    sys.exit(cases.run(attached_lab, Lab.describe))
