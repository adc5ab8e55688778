#!/usr/bin/env python3
"""drcli against the real drd and the real dr-dataplane, on sockets in a temporary folder.

usage: cli_e2e.py DRCLI DRD DR_DATAPLANE EXITS_DEF
"""
import fcntl
import json
import os
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest

DRCLI, DRD, DATAPLANE, EXITS_DEF = sys.argv[1:5]
DEADLINE_S = 30

POOLS = """\
{"pool": {"name": "tokyo-v4", "prefix": "203.0.113.0/24", "announce": true}}
{"pool": {"name": "tokyo-v6", "prefix": "2001:db8:5000::/48"}}
"""
POLICY = """\
{"policy": {"name": "default", "classes": [{"name": "all", "tiers": [
    {"lines": [{"line": "a", "weight": 3}, {"line": "b", "weight": 1}]}, {"lines": [{"line": "c"}]}]}]}}
"""
SITE = """\
{"subscriber": {"name": "site-42", "prefixes": ["203.0.113.8/29", "2001:db8:5000:100::/56"], "policy": "default",
  "tunnels": [{"line": "a", "encapsulation": "GRE_UDP", "local": "192.0.2.1", \
"remote": "198.51.100.7", "remotePort": 4754, \
"id": 16777257},
              {"line": "b", "encapsulation": "GRE", "local": "2001:db8:ff::1", "remote": "2001:db8:b::7", \
"id": 16777258}]}}
"""
SITE_WITH_KEEPALIVES = """\
{"subscriber": {"name": "site-7", "prefixes": ["203.0.113.32/29"], "policy": "default",
  "tunnels": [{"line": "a", "encapsulation": "GRE", "local": "192.0.2.1", \
"remote": "198.51.100.99", "keepalive": true},
              {"line": "b", "encapsulation": "GRE", "local": "192.0.2.1", "remote": "198.51.100.98"}]}}
"""
DATAPLANE_CONFIG = {
    "workers": 1,
    "memory_mib": 256,
    "mbufs": 4096,
    "capacity": {"subscribers": 1024, "tunnels": 4096, "maps": 64, "next_hops": 64,
                 "prefixes4": 1024, "prefixes6": 1024, "groups4": 1024, "groups6": 1024},
    "ports": [{"name": "up0", "kind": "null", "mac": "02:00:00:00:00:01",
               "addresses": ["192.0.2.1/24", "2001:db8:ff::1/64"],
               "routes": [{"prefix": "0.0.0.0/0", "via": "192.0.2.254"}],
               "neighbours": [{"address": "192.0.2.254", "mac": "02:00:00:00:00:fe"}]}],
}


class Daemon:
    """A program that prints a line when it is ready; ended by its pid, with its output kept."""

    def __init__(self, ready, arguments):
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        try:
            readable, _, _ = select.select([self.process.stdout], [], [], DEADLINE_S)
            line = self.process.stdout.readline() if readable else ""
            while line and line.strip() != ready:
                line = self.process.stdout.readline()
            if not line:
                raise RuntimeError(f"{arguments[0]} did not get ready")
        except BaseException:
            self.process.kill()
            sys.stderr.write(self.process.communicate()[1])
            raise

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()


class DrcliTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="drcli-e2e-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.server = "unix:" + self.path("drd.sock")
        self.drd = self.start_drd()

    def start_drd(self):
        return self.daemon("drd: ready", [DRD, "--listen", self.server, "--store", self.path("store.db"),
                                          "--dataplane", self.path("dataplane.sock")])

    def path(self, name):
        return os.path.join(self.folder, name)

    def daemon(self, ready, arguments):
        daemon = Daemon(ready, arguments)
        self.addCleanup(daemon.end)
        return daemon

    def start_dataplane(self):
        with open(self.path("dataplane.json"), "w", encoding="utf-8") as file:
            json.dump(DATAPLANE_CONFIG | {"socket": self.path("dataplane.sock")}, file)
        self.daemon("dr-dataplane: ready",
                    [DATAPLANE, "--config", self.path("dataplane.json"), "--no-huge"])

    def environment(self):
        return os.environ | {"DRCLI_SERVER": self.server}

    def drcli(self, *arguments, text="", code=0):
        """What it prints on both outputs; its exit code must be `code`."""
        done = subprocess.run([DRCLI, *arguments], input=text, capture_output=True, text=True,
                              timeout=DEADLINE_S, env=self.environment(), check=False)
        self.assertEqual(done.returncode, code, f"{arguments}: {done.stdout}{done.stderr}")
        return done.stdout, done.stderr

    def on_terminal(self, columns, *arguments):
        """What it shows in a window of so many columns."""
        ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        shown = b""
        with subprocess.Popen([DRCLI, *arguments], stdin=subprocess.DEVNULL, stdout=theirs,
                              stderr=theirs, env=self.environment()) as drcli:
            os.close(theirs)
            try:
                while select.select([ours], [], [], DEADLINE_S)[0]:
                    shown += os.read(ours, 65536)
            except OSError:
                pass  # the other end is closed
            finally:
                os.close(ours)
                drcli.kill()
        return re.sub(r"\x1b\[[0-9]*[A-Z]", "", shown.decode().replace("\r\n", "\n"))

    def output(self, *arguments, **options):
        out, err = self.drcli(*arguments, **options)
        self.assertEqual(err, "")
        return out

    def json(self, *arguments):
        return json.loads(self.output(*arguments, "-o", "json"))

    @staticmethod
    def status_of(pid):
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            return dict(line.split(":", 1) for line in status)

    def until(self, condition):
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            self.assertLess(time.monotonic(), deadline, "it did not come to that")
            time.sleep(0.02)

    def provision(self):
        self.output("apply", "-f", "-", text=SITE + POLICY + POOLS)

    def test_contract_sample(self):
        """the sample of the contract is applied as it stands"""
        sample = os.path.join(os.path.dirname(os.path.abspath(__file__)), "contract_sample.ndjson")
        out, err = self.drcli("apply", "-f", sample)
        self.assertEqual(out, "3 objects: 3 created, 0 updated, 0 unchanged, 0 refused\n")
        self.assertEqual(err, "line 3: subscriber/site-42: warning: subscriber.prefixes[1]: "
                              "2001:db8:5000:100::/56 is in no pool: is it routed to this DR?\n")

    def test_tables(self):
        """tables show what was applied, references pointing forward within the file"""
        out = self.output("apply", "-f", "-", text=SITE + POLICY + POOLS)
        self.assertEqual(out, "4 objects: 4 created, 0 updated, 0 unchanged, 0 refused\n")
        pools = self.json("pool", "list")
        policy = self.json("policy", "get", "default")
        site = self.json("subscriber", "get", "site-42")
        self.assertEqual(self.output("pool", "list"), (
            "NAME      PREFIX              ANNOUNCE  REVISION\n"
            f"tokyo-v4  203.0.113.0/24      yes       {pools[0]['revision']:>8}\n"
            f"tokyo-v6  2001:db8:5000::/48  no        {pools[1]['revision']:>8}\n"))
        self.assertEqual(self.output("policy", "list"), (
            "NAME     CLASSES                REVISION\n"
            f"default  all: a*3 b*1 then c*1  {policy['revision']:>8}\n"))
        self.assertEqual(self.output("subscriber", "list"), (
            "NAME     PREFIXES                               POLICY   LINES  REVISION\n"
            f"site-42  203.0.113.8/29,2001:db8:5000:100::/56  default  a,b    {site['revision']:>8}\n"))
        self.assertEqual(self.output("tunnel", "list"), (
            "      ID  SUBSCRIBER  LINE  STATE    SINCE  RTT  JITTER  LOSS UP  LOSS DOWN  FLAPS"
            "  ENDPOINT           WHY\n"
            "16777257  site-42     a     PENDING      -    -       -        -          -      -"
            "  198.51.100.7:4754  not installed yet\n"
            "16777258  site-42     b     PENDING      -    -       -        -          -      -"
            "  2001:db8:b::7      not installed yet\n"))
        self.assertEqual(self.output("tunnel", "list", "--counters"), (
            "      ID  SUBSCRIBER  LINE  ENCAPSULATION  LOCAL           REMOTE             STATE"
            "    DOWN PKTS  DOWN BYTES  UP PKTS  UP BYTES\n"
            "16777257  site-42     a     GRE_UDP        192.0.2.1       198.51.100.7:4754  PENDING"
            "          -           -        -         -\n"
            "16777258  site-42     b     GRE            2001:db8:ff::1  2001:db8:b::7      PENDING"
            "          -           -        -         -\n"))

    def test_filters(self):
        """lists are filtered by name, address and policy"""
        self.provision()
        names = lambda *a: [s["name"] for s in self.json("subscriber", "list", *a)]
        self.assertEqual(names("--within", "203.0.113.9"), ["site-42"])
        self.assertEqual(names("--within", "2001:db8:5000::/48"), ["site-42"])
        self.assertEqual(names("--within", "203.0.113.16/28"), [])
        self.assertEqual(names("--prefix", "site-"), ["site-42"])
        self.assertEqual(names("--prefix", "x"), [])
        self.assertEqual(names("--policy", "default"), ["site-42"])
        ids = lambda *a: [t["tunnel"]["id"] for t in self.json("tunnel", "list", *a)]
        self.assertEqual(ids("--line", "b"), [16777258])
        self.assertEqual(ids("--id", "0x1000029"), [16777257])
        self.assertEqual(ids("--subscriber", "site-42", "--limit", "1"), [16777257])
        self.assertEqual(ids("--encapsulation", "gre"), [16777258])
        self.assertEqual(ids("--within", "203.0.113.9", "--line", "a"), [16777257])
        self.assertEqual(ids("--within", "203.0.113.16/28"), [])
        self.assertEqual(ids("--prefix", "site-"), [16777257, 16777258])
        self.assertEqual(ids("--state", "PENDING"), [16777257, 16777258])
        self.assertEqual(ids("--state", "STATIC"), [])
        self.drcli("tunnel", "list", "--state", "SLEEPY", code=2)
        self.drcli("tunnel", "list", "--subscriber", "site-4", code=1)

    def test_reported_ids(self):
        """applying reports the tunnels' ids, those given and those allocated"""
        lines = [json.loads(line) for line in
                 self.output("apply", "-f", "-", "-o", "json", text=POLICY + SITE).splitlines()]
        self.assertEqual(lines[0].get("tunnels", []), [])
        self.assertEqual(lines[1]["tunnels"], [
            {"line": t["line"], "id": t["id"]}
            for t in self.json("subscriber", "get", "site-42")["tunnels"]])
        self.assertEqual(lines[1]["tunnels"][0], {"line": "a", "id": 16777257})

    def test_refusals(self):
        """what cannot be applied is named by line, resource, field and reason; the rest applies"""
        bad = ('{"subscriber": {"name": "site-1", "prefixes": ["203.0.113.9/29"], '
               '"policy": "default"}}\n')
        out, err = self.drcli("apply", "-f", "-", text=POOLS + POLICY + "garbage\n" + bad, code=1)
        self.assertEqual(out, "5 objects: 3 created, 0 updated, 0 unchanged, 2 refused\n")
        lines = err.splitlines()
        self.assertEqual(lines[0], "line 5: not a JSON object: it must begin with {")
        self.assertRegex(lines[1], r"^line 6: subscriber/site-1: subscriber\.prefixes\[0\]: .*host")
        self.assertEqual(len(lines), 2)
        out, _ = self.drcli("apply", "-f", "-", "-o", "json", text=f"[{bad},{POLICY}]", code=1)
        results = [json.loads(line) for line in out.splitlines()]
        self.assertEqual([r["outcome"] for r in results], ["REFUSED", "UNCHANGED"])
        self.assertEqual([r["element"] for r in results], [1, 2])
        self.assertEqual(results[0]["violations"][0]["field"], "subscriber.prefixes[0]")

    def test_atomic(self):
        """an atomic apply is all or nothing"""
        for bad in ("garbage", '{"pool": {"name": "x", "prefix": "10.0.0.1/8"}}'):
            self.drcli("apply", "--atomic", "-f", "-", text=POOLS + bad, code=1)
            self.assertEqual(self.json("pool", "list"), [])
        self.output("apply", "--atomic", "-f", "-", text=SITE + POLICY + POOLS)
        self.assertEqual(len(self.json("pool", "list")), 2)

    def test_interrupt(self):
        """Ctrl-C in an apply says how far it came"""
        apply = subprocess.Popen([DRCLI, "apply", "-f", "-"], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                 env=self.environment())
        try:
            apply.stdin.write(POOLS)
            apply.stdin.flush()
            self.until(lambda: len(self.json("pool", "list")) == 2)
            apply.send_signal(signal.SIGINT)
            out, err = apply.communicate(timeout=DEADLINE_S)
        finally:
            apply.kill()
            apply.wait()
        self.assertEqual(apply.returncode, 130)
        self.assertEqual(out, "2 objects: 2 created, 0 updated, 0 unchanged, 0 refused\n")
        self.assertEqual(err, "drcli: interrupted: what is counted was answered, the rest was not "
                              "sent\n")

    def test_interrupt_of_an_atomic_apply(self):
        """Ctrl-C in an atomic apply says that nothing was applied, and nothing was"""
        self.output("apply", "-f", "-", text=POLICY)
        apply = subprocess.Popen([DRCLI, "apply", "--atomic", "-f", "-"], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                 env=self.environment())
        try:
            apply.stdin.write(POOLS)
            apply.stdin.flush()
            # It has a handler from when it has begun to read.
            self.until(lambda: int(self.status_of(apply.pid)["SigCgt"], 16) >> 1 & 1)
            apply.send_signal(signal.SIGINT)
            out, err = apply.communicate(timeout=DEADLINE_S)
        finally:
            apply.kill()
            apply.wait()
        self.assertEqual(apply.returncode, 130)
        self.assertTrue(err.endswith("drcli: interrupted: nothing was applied\n"), out + err)
        self.assertEqual(self.json("pool", "list"), [])

    def test_delete(self):
        """deleting asks for the right name and revision, and is refused while referred to"""
        self.provision()
        for arguments in (("pool", "delete", "tokyo-v4"), ("policy", "delete", "default"),
                          ("subscriber", "delete", "nobody"),
                          ("subscriber", "delete", "site-42", "--revision", "999999")):
            out, err = self.drcli(*arguments, code=1)
            self.assertEqual(out, "")
            self.assertTrue(err.startswith("drcli: error: "), err)
        revision = self.json("subscriber", "get", "site-42")["revision"]
        out = self.output("subscriber", "delete", "site-42", "--revision", str(revision))
        self.assertEqual(out, "subscriber/site-42 deleted\n")
        self.assertEqual(self.output("pool", "delete", "tokyo-v4"), "pool/tokyo-v4 deleted\n")
        self.drcli("subscriber", "get", "site-42", code=1)

    def test_ur_config(self):
        """the site's configuration is written to a file or to standard output"""
        self.provision()
        config = self.json("subscriber", "ur-config", "site-42")
        self.assertEqual(config["subscriber"], "site-42")
        self.assertEqual([t["id"] for t in config["tunnels"]], [16777257, 16777258])
        self.assertEqual(config["tunnels"][0]["remote"], "192.0.2.1")
        self.assertEqual(config["tunnels"][0]["localPort"], 4754)
        self.output("subscriber", "ur-config", "site-42", "-f", self.path("ur.json"))
        with open(self.path("ur.json"), encoding="utf-8") as file:
            self.assertEqual(json.load(file), config)
        self.drcli("subscriber", "ur-config", "site-42", "-f", "/nonexistent/x", code=2)
        self.drcli("subscriber", "ur-config", "nobody", code=1)

    def test_watch(self):
        """watching shows what there is, then each change"""
        self.provision()
        watch = subprocess.Popen([DRCLI, "subscriber", "watch", "-o", "json"],
                                 stdout=subprocess.PIPE, text=True, env=self.environment())
        try:
            event = lambda: json.loads(watch.stdout.readline())
            self.assertEqual(event()["type"], "EXISTING")
            self.assertEqual(event()["type"], "SYNCED")
            self.output("subscriber", "delete", "site-42")
            deleted = event()
            self.assertEqual((deleted["type"], deleted["subscriber"]["name"]),
                             ("DELETED", "site-42"))
        finally:
            watch.kill()
            watch.communicate()

    def test_without_dataplane(self):
        """without a data plane the state says so, and waiting for it ends with 1"""
        status = self.json("system", "status")
        self.assertEqual(status["dataplaneState"], "ABSENT")
        _, err = self.drcli("system", "wait", "--timeout", "200ms", code=1)
        self.assertIn("not in sync after 200 ms: data plane ABSENT", err)

    def test_drain(self):
        """drain goes on and off, and stays on record"""
        self.assertRegex(self.output("system", "drain", "on"), "^drain is on: .* no traffic moves")
        self.assertIs(self.json("system", "status")["drain"], True)
        self.assertEqual(self.output("system", "drain", "off"), "drain is off\n")
        self.drcli("system", "drain", "maybe", code=2)

    def test_with_dataplane(self):
        """with a data plane tunnels are installed and counters have names and meanings"""
        self.provision()
        self.start_dataplane()
        self.output("system", "wait", "--timeout", f"{DEADLINE_S}s")
        status = self.json("system", "status")
        self.assertEqual(status["dataplaneState"], "IN_SYNC")
        self.assertEqual(status["installedRevision"], status["storeRevision"])
        rows = {row["table"]: (row["desired"], row["installed"]) for row in status["rows"]}
        self.assertEqual(rows["subscribers"], (1, 1))
        self.assertEqual(rows["tunnels"], (2, 2))
        self.assertRegex(self.output("system", "status"), r"(?m)^Data plane: +IN_SYNC$")
        brief = self.output("system", "status", "--brief")
        self.assertRegex(brief, r"(?m)^Data plane: +IN_SYNC$")
        self.assertNotIn("MEMORY", brief)
        tunnels = self.json("tunnel", "list")
        self.assertEqual([t["state"] for t in tunnels], ["STATIC", "STATIC"])
        self.assertEqual(tunnels[0]["counters"]["downlinkPackets"], 0)
        self.assertRegex(self.output("tunnel", "get", "16777257"),
                         r"(?m)^Id: +16777257 \(index 41, generation 1\)$")
        self.drcli("tunnel", "get", "4242", code=1)
        self.check_stats()
        self.check_rates()

    def check_stats(self):
        with open(EXITS_DEF, encoding="utf-8") as file:
            declared = re.findall(r'^X\(\w+, "([^"]+)", "([^"]+)"\)', file.read(), re.M)
        exits = self.json("stats", "exits")
        self.assertEqual([(e["name"], e["help"]) for e in exits], declared)
        drops = self.json("stats", "drops")
        self.assertEqual([d["name"] for d in drops],
                         [name for name, _ in declared if name.startswith("drop.")])
        self.assertTrue(all(isinstance(d["count"], int) for d in drops))
        table = self.output("stats", "drops").splitlines()
        self.assertEqual(len(table), len(drops) + 1)
        self.assertRegex(table[0], r"^NAME +COUNT  MEANING$")
        shown = self.json("stats", "show", "forwarded.")["counters"]
        self.assertEqual(sorted(shown), [n for n, _ in sorted(declared)
                                         if n.startswith("forwarded.")])
        self.assertEqual(self.drcli("stats", "show", "nonsense", code=1)[0], "")

    def check_rates(self):
        out = self.output("tunnel", "watch", "--interval", "100ms", "--count", "2", "-o", "json")
        samples = [json.loads(line) for line in out.splitlines()]
        self.assertEqual([s["id"] for s in samples], [16777257, 16777258] * 2)
        self.assertEqual(samples[-1]["downlinkPacketsPerSecond"], 0)
        blocks = self.output("tunnel", "watch", "--interval", "100ms", "--count", "2", "--line", "a")
        block = ("      ID  SUBSCRIBER  LINE  STATE   RTT  LOSS UP  LOSS DOWN  DOWN PKT/S  DOWN BIT/S"
                 "  UP PKT/S  UP BIT/S  WHY\n"
                 "16777257  site-42     a     STATIC    -        -          -           0           0"
                 "         0         0  no keepalives\n")
        self.assertEqual(blocks, block + "\n" + block)
        watched = self.output("stats", "watch", "port.up0", "--interval", "100ms", "--count", "1",
                              "-o", "json")
        self.assertIn("port.up0.rx_packets", json.loads(watched)["counters"])

    def test_keepalives(self):
        """tunnels with keepalives have a state, and what happens to them is logged for good"""
        self.provision()
        self.start_dataplane()
        self.output("system", "wait", "--timeout", f"{DEADLINE_S}s")
        # The data plane's only port is none of the kernel's, which drd asks for this machine's.
        _, err = self.drcli("apply", "-f", "-", text=SITE_WITH_KEEPALIVES)
        self.assertIn("tunnels[0].local: 192.0.2.1 is no address of this machine", err)
        self.output("system", "wait", "--timeout", f"{DEADLINE_S}s")
        state = lambda: [(t["tunnel"]["line"], t["state"], t.get("liveness", {}).get("cause"))
                         for t in self.json("tunnel", "list", "--subscriber", "site-7")]
        expected = [("a", "DOWN", "not up yet"), ("b", "STATIC", None)]
        self.until(lambda: state() == expected)
        ids = lambda *a: [(t["subscriber"], t["tunnel"]["line"])
                          for t in self.json("tunnel", "list", *a)]
        self.assertEqual(ids("--state", "down"), [("site-7", "a")])
        self.assertEqual(ids("--troubled"), [("site-7", "a")])
        self.assertEqual(ids("--state", "UP"), [])
        shown = self.output("tunnel", "get", str(self.json("tunnel", "list", "--troubled")[0]["tunnel"]["id"]))
        self.assertRegex(shown, r"(?m)^Why: +not up yet$")
        self.assertRegex(shown, r"(?m)^Peer: +not heard yet$")
        self.until(lambda: self.json("system", "status")["keepalives"]["down"] == 1)
        self.assertRegex(self.output("system", "status"), r"(?m)^Tunnels with keepalives: .* 1 DOWN,")
        self.assertIn("keepalive.sent", self.json("stats", "show", "keepalive.")["counters"])
        changed = self.output("tunnel", "watch", "--changes", "--count", "1", "--line", "a", "-o", "json")
        self.assertEqual([json.loads(line)["state"] for line in changed.splitlines()],
                         ["STATIC", "DOWN"])
        lines = self.on_terminal(80, "tunnel", "watch", "--count", "1", "--line", "a").splitlines()
        self.assertTrue(all(len(line) <= 80 for line in lines), lines)
        self.assertIn("    not up yet", lines)
        self.assertIn("    down 0 pkt/s 0 bit/s, up 0 pkt/s 0 bit/s", lines)
        # An address that nobody answers from: the engine says so after 3 s.
        seen = json.loads(self.output("event", "watch", "--kind", "unanswered", "--after", "0",
                                      "--count", "1", "-o", "json"))
        self.assertEqual((seen["subscriber"], seen["line"], seen["endpoint"]),
                         ("site-7", "a", "198.51.100.99"))
        self.assertEqual(seen["detail"], "no answer for 3 s")
        self.drd.end()
        self.start_drd()
        listed = self.json("event", "list", "--subscriber", "site-7", "--since", "1h")
        self.assertIn(seen, listed)
        self.assertEqual(self.json("event", "list", "--until", "1h"), [])
        self.assertEqual([e["kind"] for e in self.json("event", "list", "--kind", "data-plane")],
                         ["data-plane"])
        table = self.output("event", "list", "--kind", "unanswered").splitlines()
        self.assertRegex(table[0], r"^TIME +SUBSCRIBER +LINE +KIND +WHAT +OUTAGE +ENDPOINT +CAUSE$")
        self.assertRegex(table[-1], r"^\d{4}-\d\d-\d\d [\d:.]{12}  site-7 +a +unanswered +no answer for 3 s ")
        self.drcli("event", "list", "--kind", "naps", code=1)
        self.drcli("event", "list", "--since", "yesterday", code=2)

    def test_wait_for_start(self):
        """waiting may begin before drd does"""
        self.drd.end()
        self.start_dataplane()
        wait = subprocess.Popen([DRCLI, "system", "wait", "--timeout", f"{DEADLINE_S}s"],
                                stdout=subprocess.DEVNULL, env=self.environment())
        try:
            self.start_drd()
            self.assertEqual(wait.wait(timeout=DEADLINE_S), 0)
        finally:
            wait.kill()
            wait.wait()

    def test_lost_connection(self):
        """no server, or one that goes away, ends with 2"""
        _, err = self.drcli("--server", "unix:" + self.path("none"), "pool", "list", code=2)
        self.assertIn("No such file or directory (is drd running?)", err)
        self.drcli("--server", "127.0.0.1:1", "pool", "list", code=2)

    def test_completion(self):
        """completion knows commands and the names of subscribers"""
        self.provision()
        script = self.output("completion", "bash") + (
            'complete_line() { COMP_LINE=$1; read -ra COMP_WORDS <<<"$1"; '
            '[[ $1 == *" " ]] && COMP_WORDS+=(""); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); '
            '_drcli; echo "${COMPREPLY[*]}"; }\n'
            'complete_line "drcli subscriber "; complete_line "drcli subscriber get si"\n'
            'complete_line "drcli tunnel list --state DO"\n'
            'complete_line "drcli tunnel list --encapsulation "\n'
            'complete_line "drcli event list --kind re"; complete_line "drcli event list --line "\n'
            'complete_line "drcli tunnel get "; complete_line "drcli tunnel watch --id 16777258"\n')
        path = os.path.dirname(DRCLI) + ":" + os.environ["PATH"]
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True,
                              timeout=DEADLINE_S, env=self.environment() | {"PATH": path})
        self.assertEqual(done.stdout, "list get apply delete watch ur-config enroll revoke "
                                      "rotate-keys attachments\nsite-42\n"
                                      "DOWN\nGRE GRE_UDP AUTO\nrefused revoke\na b\n"
                                      "16777257 16777258\n16777258\n")

    def test_broken_pipe(self):
        """a reader that has enough ends drcli quietly"""
        pools = "".join(f'{{"pool": {{"name": "p{i}", "prefix": "10.{i // 256}.{i % 256}.0/24"}}}}\n'
                        for i in range(3000))
        self.output("apply", "-f", "-", text=pools)
        done = subprocess.run(["bash", "-c", f"'{DRCLI}' pool list --all | head -1"],
                              capture_output=True, text=True, check=True, timeout=DEADLINE_S,
                              env=self.environment())
        self.assertRegex(done.stdout, "^NAME ")
        self.assertEqual(done.stderr, "")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[5:]], verbosity=2)
