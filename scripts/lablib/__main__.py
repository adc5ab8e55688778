"""`scripts/lab`: the lab to play with."""

import os
import signal

# Python's own traceback is no answer to Ctrl-C, not while modules are loaded either.
signal.signal(signal.SIGINT, lambda *_: os._exit(130))

import argparse
import re
import shutil
import subprocess
import sys
import time

from . import demo, faults, saved
from . import topology as t
from .process import tail
from .programs import ROOT
from .shell import LabError
from .switching import LINES

INTERRUPTED = 130
# What `up` runs: a third of the build is tests.
TARGETS = "dataplane/dr-dataplane control/drd cli/drcli ur/urd tests/linkem/linkem"
RESTARTED = ("drd", "dr-dataplane", "urd")


def install_and_build():
    print("build: meson and ninja in build/ (some minutes the first time)", flush=True)
    for command in (["scripts/deps"], ["scripts/build", "--only", TARGETS]):
        if subprocess.run([ROOT / command[0], *command[1:]], stdin=subprocess.DEVNULL,
                          check=False).returncode != 0:
            raise LabError(f"{' '.join(command)} failed: see above")


def up(arguments):
    name, static = arguments.name, arguments.static
    if saved.exists(name):
        called = saved.command(name)
        raise LabError(f"the lab \"{name}\" is there already: {called} status, or {called} down "
                       "first")
    if not arguments.no_build:
        install_and_build()
    if not shutil.which("ip"):
        raise LabError("iproute2 is not installed: run scripts/deps")
    lab = saved.make(name, static=static, sites=arguments.sites)
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
    except (LabError, KeyboardInterrupt, BrokenPipeError) as error:
        saved.save(lab)
        interrupted = isinstance(error, KeyboardInterrupt)
        print(f"scripts/lab: error: {'interrupted' if interrupted else error}", file=sys.stderr)
        print(f"What did come up is still there: logs in {lab.directory}; "
              f"`{saved.command(name)} down` removes it.", file=sys.stderr)
        return INTERRUPTED if interrupted else 1
    print(f"\nDone in {time.monotonic() - started:.0f} s. The lab stays up until "
          f"`{saved.command(name)} down`. Logs and files: {lab.directory}\n")
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
    for command in (("system", "status", "--brief"), ("tunnel", "list"), ("stats", "show", "forwarded.")):
        done = lab.router.drcli(*command, check=False)
        print(done.stdout or f"drcli {' '.join(command)}: {done.stderr.strip()}\n")
    print(lab.urd_status(lab.sites[0]))
    return 0


def fault(arguments):
    name, verb, line = arguments.name, arguments.command, arguments.line
    lab = saved.load(name)
    sizes = (arguments.size,) if verb in ("mtu", "delay") else ()
    getattr(faults, verb)(lab, line, *sizes)
    saved.save(lab)  # it may have a process more, or less
    print(f"line {line}: {faults.state(lab, line)}")
    if lab.signalled is not None:
        called = saved.command(name)
        print(f"See: {called} drcli tunnel list; {called} drcli event list --limit 5")
    elif verb == "cut":
        print("These tunnels have no keepalives: the line stays in use, and what is sent over it is "
              "lost.")
    return 0


def restart(name, program):
    """kill -9, and start as `up` did."""
    lab = saved.load(name)
    site = lab.sites[0]
    running = {"drd": lab.router.drd, "dr-dataplane": lab.router.dataplane,
               "urd": lab.urds.get(site.name)}[program]
    if running is not None:
        running.kill()
    if program == "drd":
        lab.router.start_drd()
    elif program == "dr-dataplane":
        lab.router.start_dataplane()
    else:
        lab.start_urd(site)
    saved.save(lab)
    print(f"{program} was killed and runs again")
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


def line_mtu(text):
    if not text.isdecimal() or not 576 <= int(text) <= 1500:
        raise argparse.ArgumentTypeError(f"{text}: 576 to 1500 bytes")
    return int(text)


def line_delay(text):
    number = text.removesuffix("ms").strip()
    if not number.isdecimal() or not 1 <= int(number) <= 2000:
        raise argparse.ArgumentTypeError(f"{text}: 1 to 2000 milliseconds, as in 80ms")
    return int(number)


def site_count(text):
    if text not in ("1", "2", "3", "4"):
        raise argparse.ArgumentTypeError(f"{text}: 1 to 4 sites")
    return int(text)


def options_of_all():
    """--name and --no-build, before or after the verb."""
    both = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    both.add_argument("--name", default=argparse.SUPPRESS, help="the lab's name (default: dr)")
    both.add_argument("--no-build", action="store_true", default=argparse.SUPPRESS,
                      help="up: do not install or build")
    return both


def parser_of_all():
    both = options_of_all()
    parser = argparse.ArgumentParser(prog="scripts/lab", allow_abbrev=False, parents=[both])
    commands = parser.add_subparsers(dest="command", required=True)

    def verb(name, what):
        return commands.add_parser(name, help=what, parents=[both], allow_abbrev=False)

    one = verb("up", "bring it up, and show what it does")
    one.add_argument("--static", action="store_true",
                     help="tunnels configured by hand at both ends, without keepalives")
    one.add_argument("--sites", type=site_count, default=1,
                     help="with further sites, whose routers nobody has provisioned yet")
    verb("status", "processes, lines, tunnels, counters")
    verb("down", "remove everything again")
    for name, what in (("cut", "a line loses everything, silently"),
                       ("unplug", "a line's link goes down"),
                       ("mtu", "the ISP of a line carries packets of at most SIZE bytes"),
                       ("firewall", "the ISP of a line lets in only what the site has asked for"),
                       ("delay", "the round trip over a line is TIME longer, 80ms for instance"),
                       ("mend", "a line works again, whatever was done to it")):
        one = verb(name, what)
        one.add_argument("line", choices=LINES)
        if name == "mtu":
            one.add_argument("size", type=line_mtu)
        if name == "delay":
            one.add_argument("size", metavar="time", type=line_delay)
    verb("restart", "kill -9 a program, and start it again").add_argument(
        "program", choices=RESTARTED)
    verb("shell", "a shell on a node").add_argument("node")
    verb("drcli", "drcli against the lab's drd").add_argument("arguments", nargs="*")
    return parser


def split_drcli(arguments):
    """What stands after the verb `drcli` is drcli's own, options included."""
    verb = 0
    while verb < len(arguments) and arguments[verb].startswith("-"):
        verb += 2 if arguments[verb] == "--name" else 1
    if arguments[verb:verb + 1] != ["drcli"]:
        return arguments, []
    return arguments[:verb + 1], arguments[verb + 1:]


def parse(given):
    parser = parser_of_all()
    ours, of_drcli = split_drcli(given)
    arguments = parser.parse_args(ours)
    arguments.name = getattr(arguments, "name", "dr")
    arguments.no_build = getattr(arguments, "no_build", False)
    if arguments.command == "drcli":
        arguments.arguments = of_drcli
    if not re.fullmatch(r"[a-z][a-z0-9]{0,7}", arguments.name):
        parser.error("--name: 1 to 8 lower-case letters and digits, a letter first")
    return arguments


def main(given):
    arguments = parse(given)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if arguments.command == "up":
        return up(arguments)
    # `scripts/lab status | head` ends in silence, as other programs do.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if not shutil.which("ip"):
        raise LabError("iproute2 is not installed: run scripts/deps")
    match arguments.command:
        case "down":
            return down(arguments.name)
        case "status":
            return status(arguments.name)
        case "cut" | "unplug" | "mtu" | "firewall" | "delay" | "mend":
            return fault(arguments)
        case "restart":
            return restart(arguments.name, arguments.program)
        case "shell":
            return shell(arguments.name, arguments.node)
        case "drcli":
            return drcli(arguments.name, arguments.arguments)


if __name__ == "__main__":
    os.chdir(ROOT)
    try:
        sys.exit(main(sys.argv[1:]))
    except LabError as error:
        print(f"scripts/lab: error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("scripts/lab: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
