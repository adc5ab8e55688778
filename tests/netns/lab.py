#!/usr/bin/python3
"""scripts/lab as a user runs it: it shows what it promises, lines are pulled and plugged, all goes again."""

import json
import os
import subprocess
import sys
import uuid
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from lablib import faults, saved, ur
from lablib import topology as t
from lablib.cases import Cases, expect
from lablib.process import Process
from lablib.shell import run, wait_until

cases = Cases()
NAME = f"t{uuid.uuid4().hex[:6]}"


def scripts_lab(*arguments, timeout=90):
    return run([ROOT / "scripts" / "lab", "--name", NAME, *arguments], timeout=timeout).stdout


def refused(*arguments):
    """What a wrong call says; it ends with 2, and begins nothing."""
    done = run([ROOT / "scripts" / "lab", *arguments], check=False)
    expect(done.returncode == 2, f"exit {done.returncode}: {done.stdout}{done.stderr}")
    expect(not done.stdout, f"it began: {done.stdout}")
    return done.stderr


def readme_commands(program):
    """What the README's first provisioning tells to run, up to its second way; whole commands."""
    text = (ROOT / "README.md").read_text()
    section = text.partition("## A first provisioning by hand")[2].partition("The second way is")[0]
    commands, one = [], ""
    for line in section.splitlines():
        if not line.startswith("       "):
            one = ""
            continue
        one += line.strip().partition("  #")[0].rstrip() + "\n"
        if one.count("'") % 2 == 0 and not one.rstrip().endswith("|"):
            commands.append(one.strip())
            one = ""
    return [c for c in commands if c.split()[0] == program or f"| {program} " in c]


def shell_environment(lab):
    return os.environ | {"DRCLI_SERVER": f"unix:{lab.router.drd_socket}",
                         "PATH": f"{lab.programs.drcli.parent}:{os.environ['PATH']}"}


@contextmanager
def lab_of_a_user():
    try:
        yield None
    finally:
        subprocess.run([ROOT / "scripts" / "lab", "--name", NAME, "down"], check=False,
                       stdout=subprocess.DEVNULL)


@cases.case("scripts/lab refuses a wrong call before it installs or builds anything")
def _(_context):
    for wrong, why in ((("up", "--name", NAME, "--statc"), "--statc"), (("up", "extra"), "extra"),
                       (("frob",), "frob"), (("mtu", "a", "20"), "576 to 1500"),
                       (("up", "--sites", "9"), "1 to 4 sites"), (("up", "--name", "No"), "--name")):
        said = refused(*wrong)
        expect(why in said, f"{wrong}: {said}")
    help_text = run([ROOT / "scripts" / "lab", "up", "--help"]).stdout
    expect("--sites" in help_text and "build: meson" not in help_text, help_text)


@cases.case("scripts/lab up: a site attaches, downloads, survives its line, and goes back later")
def _(_context):
    shown = run([ROOT / "scripts" / "lab", "up", "--no-build", "--sites", "2", "--name", NAME],
                timeout=90).stdout
    for text in ("attached after", "checksums right", "carries traffic", "packets lost",
                 "no sign of life", "waits to be restored", "Try next"):
        expect(text in shown, f"\"{text}\" is not in\n{shown}")


@cases.case("scripts/lab cut takes the line that carries: traffic moves to the other one")
def _(_context):
    lab = saved.load(NAME)
    ur.wait_carries(lab, "b")
    scripts_lab("cut", "b")
    expect(faults.state(lab, "b") == "cut", faults.state(lab, "b"))
    ur.wait_carries(lab, "a")
    scripts_lab("mend", "b")
    ur.wait_up(lab, "b", seconds=20)


@cases.case("scripts/lab unplug takes a link down, and mend brings it back with its IPv6 address")
def _(_context):
    lab = saved.load(NAME)
    for line, other in (("a", "b"), ("b", "a")):
        scripts_lab("unplug", line)
        expect(faults.state(lab, line) == "unplugged", faults.state(lab, line))
        ur.wait_carries(lab, other)
        expect("link is down" in ur.tunnel(lab, line)["cause"], f"{ur.tunnel(lab, line)}")
        scripts_lab("mend", line)
        expect(faults.state(lab, line) == "plugged in", faults.state(lab, line))
        ur.wait_up(lab, line, seconds=20)


@cases.case("scripts/lab mtu and firewall limit a line, and mend takes both away")
def _(_context):
    lab = saved.load(NAME)
    expect("MTU 1454" in scripts_lab("mtu", "a", "1454"), "mtu")
    expect("MTU 1454, firewall" in scripts_lab("firewall", "a"), "firewall")
    isp = lab.net["ispa"]
    shown = isp.ip("link", "show", "dev", "ur1").stdout
    expect("mtu 1454" in shown, shown)
    expect("fw_ur1" in isp.run(["nft", "list", "tables"]).stdout, "no firewall")
    expect(scripts_lab("mend", "a").startswith("line a: plugged in\n"), faults.state(lab, "a"))


def round_trip(lab):
    """The least of a few from the router's line a to the DR, in ms."""
    done = lab.net["ur1"].run(["ping", "-n", "-c", "5", "-i", "0.1", "-I", "wan-a", t.DR_IX4])
    return float(done.stdout.rpartition("= ")[2].split("/")[0])


@cases.case("scripts/lab delay makes a line's round trip longer, without a change of state, and mend "
            "takes it away")
def _(_context):
    lab = saved.load(NAME)
    ur.wait_up(lab, seconds=20)
    flaps = ur.tunnel(lab, "a")["flaps"]
    expect("+80 ms" in scripts_lab("delay", "a", "80ms"), "delay")
    expect(80 <= round_trip(lab) < 150, f"{round_trip(lab)} ms")
    wait_until(lambda: ur.tunnel(lab, "a")["rttMs"] > 60, "urd sees it", seconds=20)
    expect("+30 ms" in scripts_lab("delay", "a", "30"), "another delay")
    expect(30 <= round_trip(lab) < 75, f"{round_trip(lab)} ms")
    tunnel = ur.tunnel(lab, "a")
    expect(tunnel["state"] == "up" and tunnel["flaps"] == flaps, f"{tunnel}")
    expect("ms" not in scripts_lab("mend", "a").splitlines()[0], "mend")
    expect(round_trip(lab) < 25, f"{round_trip(lab)} ms")
    expect("1 to 2000" in refused("delay", "a", "soon"), "a time that is none")


@cases.case("scripts/lab drcli takes drcli's own options, and a closed pipe is no error")
def _(_context):
    listed = json.loads(scripts_lab("drcli", "-o", "json", "tunnel", "list"))
    expect(len(listed) == 2, f"{listed}")
    piped = run(["bash", "-c", f"set -o pipefail; {ROOT}/scripts/lab --name {NAME} status | head -1"],
                check=False)
    expect("PROCESS" in piped.stdout and not piped.stderr, f"{piped.stdout}{piped.stderr}")


@cases.case("scripts/lab restart kills a program and starts it again; the site stays attached")
def _(_context):
    for program in ("drd", "dr-dataplane", "urd"):
        before = {p.pid for p in saved.load(NAME).processes()}
        scripts_lab("restart", program)
        lab = saved.load(NAME)
        expect(len({p.pid for p in lab.processes()} - before) == 1, f"{program} is not another one")
        expect(all(p.alive() for p in lab.processes()), "one has ended")
        ur.wait_up(lab, seconds=20)


@cases.case("a second site is provisioned by the README's commands, and its host reaches the Internet")
def _(_context):
    lab = saved.load(NAME)
    for command in readme_commands("drcli"):
        run(["bash", "-ec", command], env=shell_environment(lab), cwd=lab.directory)
    started = [c for c in readme_commands("urd") if "wan-a" in c]
    expect(len(started) == 1, f"{started}")
    urd = Process.start("urd of shop-7", lab.net["ur2"].command(
        ["bash", "-ec", f"cd {lab.directory}; PATH={lab.programs.urd.parent}:$PATH; exec "
         + started[0]]), lab.directory / "urd-shop-7.log", ready="urd: ready")
    try:
        wait_until(lambda: lab.ping("lan2", t.INET4, check=False).returncode == 0,
                   "an answered ping of lan2", seconds=20)
    finally:
        urd.stop()


@cases.case("scripts/lab down leaves no process, namespace or file behind")
def _(_context):
    lab = saved.load(NAME)
    scripts_lab("down")
    left = [n.name for n in lab.net.nodes.values() if n.exists()]
    expect(not left, f"{left}")
    expect(not [p.name for p in lab.processes() if p.alive()], "processes")
    expect(not os.path.exists(lab.directory), f"{lab.directory} is there")


if __name__ == "__main__":
    sys.exit(cases.run(lab_of_a_user))
