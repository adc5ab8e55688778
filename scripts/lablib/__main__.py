"""`scripts/lab`: the lab to play with. Its state is in /run/dr-lab/NAME."""

import argparse
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

from . import topology as t
from .lab import Lab
from .process import Process, tail
from .programs import ROOT
from .shell import LabError
from .traffic import FileServer, download

STATE = Path("/run/dr-lab")
FLOWS = 12


def step(text):
    print(f"  - {text}", flush=True)


def up(name):
    directory = STATE / name
    if directory.exists():
        raise LabError(f"the lab \"{name}\" is there already: scripts/lab status, or scripts/lab "
                       "down first")
    lab = Lab(name, directory)
    started = time.monotonic()
    print(f"Bringing up the lab \"{name}\":")
    try:
        directory.mkdir(parents=True)
        lab.bring_up(step)
        step("http servers on inet and lan1")
        servers = {node: FileServer(lab, node) for node in ("inet", "lan1")}
        save(lab)
        try_downloads(lab, servers)
    except (LabError, KeyboardInterrupt) as error:
        save(lab)
        print(f"scripts/lab: error: {error or 'interrupted'}", file=sys.stderr)
        print(f"What did come up is still there: logs in {directory}; `scripts/lab down` removes "
              "it.", file=sys.stderr)
        return 1
    print(t.PICTURE)
    print(lab.router.drcli("tunnel", "list").stdout)
    print(f"Up after {time.monotonic() - started:.0f} s, until `scripts/lab down`. "
          f"Logs and files: {directory}")
    print(next_steps(name))
    return 0


def try_downloads(lab, servers):
    """Both directions, both families, flows with different ports: some on each tunnel."""
    site = lab.sites[0]
    started = time.monotonic()
    ways = [("lan1", "inet", t.INET4), ("lan1", "inet", t.INET6),
            ("inet", "lan1", site.lan4), ("inet", "lan1", site.lan6)]
    for client, server, address in ways:
        size = sum(download(lab, client, servers[server], address) for _ in range(FLOWS))
        step(f"curl on {client} from {server} ({address}): {FLOWS} files, {size >> 20} MiB, "
             "checksums right")
    for (_, line), status in lab.tunnels().items():
        counters = status["counters"]
        if not counters["downlinkPackets"] or not counters["uplinkPackets"]:
            raise LabError(f"the tunnel over line {line} carried nothing in one direction: "
                           f"{counters}")
    step(f"both tunnels carried traffic in both directions ({time.monotonic() - started:.1f} s)")


def next_steps(name):
    option = "" if name == "dr" else f" --name {name}"
    return f"""
Try next:
  scripts/lab{option} drcli tunnel watch             rates per tunnel and direction, live
  scripts/lab{option} drcli stats drops              every drop reason, with its count
  scripts/lab{option} shell lan1                     then: curl -s -o /dev/null http://{t.INET4}:8080/file.bin
                                           or:   ping {t.INET6}
  scripts/lab{option} shell dr                       then: ip address, ip neighbour, tcpdump -ni ix0
  scripts/lab{option} status
  scripts/lab{option} down
"""


def save(lab):
    state = {"processes": [p.record() for p in lab.processes()],
             "namespaces": [n.name for n in lab.net.nodes.values()]}
    path = lab.directory / "state.json"
    path.with_suffix(".new").write_text(json.dumps(state, indent=2) + "\n")
    path.with_suffix(".new").rename(path)


def load(name):
    """The lab as it was brought up, with the processes that `up` left behind."""
    directory = STATE / name
    if not directory.exists():
        raise LabError(f"there is no lab \"{name}\": scripts/lab up")
    lab = Lab(name, directory)
    path = directory / "state.json"
    state = json.loads(path.read_text()) if path.exists() else {"processes": []}
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


def down(name):
    if not (STATE / name).exists() and not Lab(name, STATE / name).net["dr"].exists():
        print(f"there is no lab \"{name}\"")
        return 0
    (STATE / name).mkdir(parents=True, exist_ok=True)
    lab = load(name)
    lab.close()
    print(f"The lab \"{name}\" is gone.")
    return 0


def status(name):
    lab = load(name)
    print(f"{'PROCESS':<24}{'PID':>8}  STATE")
    for process in lab.processes():
        print(f"{process.name:<24}{process.pid:>8}  {'runs' if process.alive() else 'ended'}")
        if not process.alive():
            print(tail(process.output()))
    print(t.PICTURE)
    for command in (("system", "status"), ("tunnel", "list"), ("stats", "show", "forwarded.")):
        done = lab.router.drcli(*command, check=False)
        print(done.stdout or f"drcli {' '.join(command)}: {done.stderr.strip()}\n")
    print(lab.urd_status(lab.sites[0]))
    return 0


def shell(name, node):
    lab = load(name)
    if node not in lab.net.nodes:
        raise LabError(f"no node \"{node}\": one of {', '.join(lab.net.nodes)}")
    environment = os.environ | {
        "PS1": f"{name}:{node}# ", "DRCLI_SERVER": f"unix:{lab.router.drd_socket}",
        "PATH": f"{lab.programs.drcli.parent}:{os.environ['PATH']}"}
    command = lab.net[node].command(["bash", "--norc"])
    sys.stdout.flush()
    os.execvpe(command[0], command, environment)


def drcli(name, arguments):
    lab = load(name)
    command = [str(part) for part in lab.router.drcli_command(*arguments)]
    sys.stdout.flush()
    os.execv(command[0], command)


def main():
    parser = argparse.ArgumentParser(prog="scripts/lab", allow_abbrev=False)
    parser.add_argument("--name", default="dr", help="the lab's name (default: dr)")
    parser.add_argument("--no-build", action="store_true", help="up: do not install or build")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up").add_argument("--no-build", action="store_true")
    commands.add_parser("status")
    commands.add_parser("down")
    commands.add_parser("shell").add_argument("node")
    commands.add_parser("drcli").add_argument("arguments", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    if not re.fullmatch(r"[a-z][a-z0-9]{0,7}", arguments.name):
        parser.error("--name: 1 to 8 lower-case letters and digits, a letter first")
    if not shutil.which("ip"):
        raise LabError("iproute2 is not installed: run scripts/deps")
    match arguments.command:
        case "up":
            return up(arguments.name)
        case "down":
            return down(arguments.name)
        case "status":
            return status(arguments.name)
        case "shell":
            return shell(arguments.name, arguments.node)
        case "drcli":
            return drcli(arguments.name, arguments.arguments)


if __name__ == "__main__":
    os.chdir(ROOT)
    try:
        sys.exit(main())
    except LabError as error:
        print(f"scripts/lab: error: {error}", file=sys.stderr)
        sys.exit(1)
