"""Who may include whom: the rooms of the house, from the lowest floor up.

A room includes only rooms that stand before it here, so there is no arrow up and no cycle. The table
in CONTRIBUTING.md has the same rooms in the same order.

    PYTHONPATH=scripts python3 -m testlib.rooms     prints what is wrong; exit 1 with findings
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GENERATED = {"dr/v1": "proto", "dr/store": "proto", "google/rpc": "proto"}

# Room: the rooms that it includes.
ROOMS = {
    "base": "",
    "process": "",
    "proto": "",
    "pki": "process",
    "dataplane/wire": "",
    "dataplane/liveness": "dataplane/wire",
    "dataplane/tables": "base dataplane/wire",
    "dataplane/southbound": "base dataplane/tables",
    "dataplane/config": "base dataplane/tables dataplane/southbound",
    "dataplane/writer": "base dataplane/wire dataplane/liveness dataplane/tables dataplane/southbound",
    "dataplane/server": "process dataplane/tables dataplane/southbound dataplane/writer",
    "dataplane/ports": "base process dataplane/wire dataplane/tables dataplane/southbound dataplane/config",
    "dataplane/keepalive": "base dataplane/wire dataplane/liveness dataplane/tables dataplane/writer "
                           "dataplane/server",
    "dataplane/worker": "base dataplane/wire dataplane/liveness dataplane/tables dataplane/southbound "
                        "dataplane/ports dataplane/keepalive",
    "dataplane": "base process dataplane/config dataplane/writer dataplane/server dataplane/ports "
                 "dataplane/keepalive dataplane/worker",
    "control/sqlite": "",
    "control/daemon": "base process",
    "control/store": "control/sqlite",
    "control/model": "base proto dataplane/wire dataplane/southbound control/store",
    "control/telemetry": "base proto dataplane/wire dataplane/liveness dataplane/southbound",
    "control/events": "base dataplane/liveness dataplane/southbound control/sqlite control/model "
                      "control/telemetry",
    "control/southbound": "base dataplane/southbound control/model control/telemetry",
    "control/signalling": "base proto pki dataplane/liveness control/daemon control/model control/events",
    "control/api": "base process proto pki dataplane/liveness control/daemon control/model control/telemetry "
                   "control/events control/southbound control/signalling",
    "control": "base process pki control/daemon control/store control/model control/telemetry "
               "control/events control/southbound control/signalling control/api",
    "cli": "base process proto",
    "ur/bpf": "dataplane/wire",
    "ur/signalling": "base process proto pki",
    "ur": "base process proto dataplane/wire dataplane/liveness dataplane/tables ur/bpf ur/signalling",
}


def sources():
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "--",
                             *{room.split("/")[0] for room in ROOMS}],
                            capture_output=True, text=True, check=True).stdout.split()
    for name in listed:
        path = Path(name)
        # A precompiled header names what the sources of its program include all the same.
        if path.suffix in (".h", ".cpp", ".c", ".def") and path.parent.name != "pch" and (ROOT / path).exists():
            yield path


def room_of(folder):
    return GENERATED.get(folder, folder)


def wrong_includes():
    order = list(ROOMS)
    for room, seen in ROOMS.items():
        for other in seen.split():
            if other not in order[:order.index(room)]:
                yield f"rooms.py: {room} may not see {other}, which does not stand before it"
    used = set()
    for path in sources():
        room = room_of(str(path.parent))
        if room not in ROOMS:
            yield f"{path}: {room}/ is no room of scripts/testlib/rooms.py"
            continue
        for line in (ROOT / path).read_text().splitlines():
            found = re.match(r'#include "([^"]+)/[^/"]+"', line)
            other = room_of(found[1]) if found else room
            if other == room:
                continue
            used.add((room, other))
            if other not in ROOMS[room].split():
                yield f"{path}: includes {other}/, which {room}/ does not see"
    for room, seen in ROOMS.items():
        for other in seen.split():
            if (room, other) not in used:
                yield f"rooms.py: {room}/ includes nothing of {other}/ any more"


def wrong_table():
    """CONTRIBUTING.md's table has the rooms in this order, each with what it sees."""
    rows = re.findall(r"^\| `([^`]+)/` \|[^|]*\| ([^|]*) \|$", (ROOT / "CONTRIBUTING.md").read_text(),
                      re.MULTILINE)
    found = {room: " ".join(seen.replace("`", "").replace(",", "").split()) for room, seen in rows}
    for room, seen in ROOMS.items():
        short = " ".join(shortened(room, other) for other in seen.split()) or "–"
        if found.get(room) != short:
            yield (f"CONTRIBUTING.md: {room}/ sees {found.get(room, 'is missing')!r} there, "
                   f"{short!r} in rooms.py")
    named = [room for room, _ in rows if room in ROOMS]
    if named != list(ROOMS):
        yield "CONTRIBUTING.md: the rooms stand in another order than in rooms.py"


def shortened(room, other):
    """As a room calls its neighbours: dataplane/worker says "tables"."""
    top = room.split("/")[0]
    return other.removeprefix(top + "/") if other.startswith(top + "/") else other


def findings():
    return [*wrong_includes(), *wrong_table()]


if __name__ == "__main__":
    wrong = findings()
    print("\n".join(wrong) or "each room includes lower ones only")
    sys.exit(1 if wrong else 0)
