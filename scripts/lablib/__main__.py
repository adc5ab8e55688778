"""`scripts/lab`: the lab to play with."""

import argparse
import os
import re
import shutil
import sys
import time

from . import demo, faults, saved
from . import topology as t
from .process import tail
from .programs import ROOT
from .shell import LabError
from .switching import LINES


def up(name, static):
    if saved.exists(name):
        raise LabError(f"the lab \"{name}\" is there already: scripts/lab status, or scripts/lab "
                       "down first")
    lab = saved.make(name, static=static)
    started = time.monotonic()
    print(f"Bringing up the lab \"{name}\":")
    try:
        lab.directory.mkdir(parents=True)
        lab.bring_up(demo.step)
        saved.save(lab)
        if static:
            demo.static(lab)
        else:
            demo.attached(lab)
        saved.save(lab)
    except (LabError, KeyboardInterrupt) as error:
        saved.save(lab)
        print(f"scripts/lab: error: {error or 'interrupted'}", file=sys.stderr)
        print(f"What did come up is still there: logs in {lab.directory}; "
              f"`{demo.command(name)} down` removes it.", file=sys.stderr)
        return 1
    print(f"\nDone in {time.monotonic() - started:.0f} s. The lab stays up until `{demo.command(name)} down`. "
          f"Logs and files: {lab.directory}\n")
    print(demo.next_steps(name, static=static))
    return 0


def down(name):
    # Not only what is in /run: it may be gone, with namespaces left.
    if not saved.exists(name):
        lab = saved.make(name, static=True)
        if not lab.net["dr"].exists():
            print(f"there is no lab \"{name}\"")
            return 0
    else:
        lab = saved.load(name)
    lab.close()
    print(f"The lab \"{name}\" is gone.")
    return 0


def status(name):
    lab = saved.load(name)
    print(f"{'PROCESS':<24}{'PID':>8}  STATE")
    for process in lab.processes():
        print(f"{process.name:<24}{process.pid:>8}  {'runs' if process.alive() else 'ended'}")
        if not process.alive():
            print(tail(process.output()))
    print(t.picture(static=lab.signalled is None))
    for line in LINES:
        print(f"line {line}: {faults.state(lab, line)}")
    print()
    for command in (("system", "status"), ("tunnel", "list"), ("stats", "show", "forwarded.")):
        done = lab.router.drcli(*command, check=False)
        print(done.stdout or f"drcli {' '.join(command)}: {done.stderr.strip()}\n")
    print(lab.urd_status(lab.sites[0]))
    return 0


def fault(name, verb, line):
    lab = saved.load(name)
    getattr(faults, verb)(lab, line)
    print(f"line {line} is {faults.state(lab, line)}")
    if lab.signalled is not None:
        called = demo.command(name)
        print(f"See: {called} drcli tunnel list; {called} drcli event list --limit 5")
    elif verb == "cut":
        print("These tunnels have no keepalives: the line stays in use, and what is sent over it is "
              "lost.")
    return 0


def shell(name, node):
    lab = saved.load(name)
    if node not in lab.net.nodes:
        raise LabError(f"no node \"{node}\": one of {', '.join(lab.net.nodes)}")
    environment = os.environ | {
        "PS1": f"{name}:{node}# ", "DRCLI_SERVER": f"unix:{lab.router.drd_socket}",
        "PATH": f"{lab.programs.drcli.parent}:{lab.programs.urd.parent}:{os.environ['PATH']}"}
    command = lab.net[node].command(["bash", "--norc"])
    sys.stdout.flush()
    os.execvpe(command[0], command, environment)


def drcli(name, arguments):
    lab = saved.load(name)
    command = [str(part) for part in lab.router.drcli_command(*arguments)]
    sys.stdout.flush()
    os.execv(command[0], command)


def parse():
    parser = argparse.ArgumentParser(prog="scripts/lab", allow_abbrev=False)
    parser.add_argument("--name", default="dr", help="the lab's name (default: dr)")
    parser.add_argument("--no-build", action="store_true", help="up: do not install or build")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("up", help="bring it up, and show what it does")
    one.add_argument("--no-build", action="store_true")
    one.add_argument("--static", action="store_true",
                     help="tunnels configured by hand at both ends, without keepalives")
    commands.add_parser("status", help="processes, lines, tunnels, counters")
    commands.add_parser("down", help="remove everything again")
    for verb, what in (("cut", "a line loses everything, silently"),
                       ("unplug", "a line's link goes down"), ("mend", "a line works again")):
        commands.add_parser(verb, help=what).add_argument("line", choices=LINES)
    commands.add_parser("shell", help="a shell on a node").add_argument("node")
    commands.add_parser("drcli", help="drcli against the lab's drd").add_argument(
        "arguments", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    if not re.fullmatch(r"[a-z][a-z0-9]{0,7}", arguments.name):
        parser.error("--name: 1 to 8 lower-case letters and digits, a letter first")
    return arguments


def main():
    arguments = parse()
    if not shutil.which("ip"):
        raise LabError("iproute2 is not installed: run scripts/deps")
    match arguments.command:
        case "up":
            return up(arguments.name, arguments.static)
        case "down":
            return down(arguments.name)
        case "status":
            return status(arguments.name)
        case "cut" | "unplug" | "mend":
            return fault(arguments.name, arguments.command, arguments.line)
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
