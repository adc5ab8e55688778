"""The labs that `scripts/lab up` leaves running: what is known of them, in /run/dr-lab/NAME."""

import json
from pathlib import Path

from .lab import Lab
from .process import Process
from .shell import LabError

STATE = Path("/run/dr-lab")

# A line that came back rests for 5 s, and for this long (docs/keepalive.md); a minute is the default.
WAIT_TO_RESTORE = 20


def command(name):
    """How this lab's verbs are called."""
    return "scripts/lab" + ("" if name == "dr" else f" --name {name}")


def make(name, *, static, sites=1):
    """A lab, not brought up yet. Not static: its UR knows its credentials alone.

    Only the first site is provisioned; the others are for the user to provision.
    """
    return Lab(name, STATE / name, sites=1, spare_sites=sites - 1, signalled=None if static else {
        "wait_to_restore": WAIT_TO_RESTORE, "line_b_over_ipv6": True})


def exists(name):
    return (STATE / name).exists()


def save(lab):
    state = {"static": lab.signalled is None, "sites": len(lab.net.sites),
             "processes": [p.record() for p in lab.processes()],
             "namespaces": [n.name for n in lab.net.nodes.values()]}
    path = lab.directory / "state.json"
    path.with_suffix(".new").write_text(json.dumps(state, indent=2) + "\n")
    path.with_suffix(".new").rename(path)


def load(name):
    """The lab as it was brought up, with the processes that `up` left behind."""
    if not exists(name):
        raise LabError(f"there is no lab \"{name}\": {command(name)} up")
    path = STATE / name / "state.json"
    state = json.loads(path.read_text()) if path.exists() else {"static": True, "processes": []}
    lab = make(name, static=state["static"], sites=state.get("sites", 1))
    for record in state["processes"]:
        process = Process.from_record(record)
        if process.name == "drd":
            lab.router.drd = process
        elif process.name == "dr-dataplane":
            lab.router.dataplane = process
        elif process.name.startswith("urd of "):
            lab.urds[process.name.removeprefix("urd of ")] = process
        else:
            lab.helpers.append(process)
    return lab
