"""The product's programs as a lab runs them: configuration files and command lines."""

import json
import os
from pathlib import Path

from . import topology as t
from .process import Process
from .shell import LabError, run

ROOT = Path(__file__).resolve().parents[2]

# drd runs as a user of its own that nothing else on the machine has; its group may use the data
# plane's socket.
DRD_UID = DRD_GID = 61146

# Where URs attach, at the DR's address towards the ISPs.
SIGNALLING_PORT = 4755

CAPACITY = {"subscribers": 16384, "tunnels": 4096, "maps": 256, "next_hops": 1024,
            "prefixes4": 32768, "prefixes6": 32768, "groups4": 4096, "groups6": 4096}


class Programs:
    """Where the binaries are: the build directory of the tree unless DR_BUILD says otherwise."""

    def __init__(self, build=None):
        self.build = Path(build or os.environ.get("DR_BUILD") or ROOT / "build")
        self.dataplane = self.build / "dataplane" / "dr-dataplane"
        self.drd = self.build / "control" / "drd"
        self.drcli = self.build / "cli" / "drcli"
        self.urd = self.build / "ur" / "urd"
        self.linkem = self.build / "tests" / "linkem" / "linkem"

    def debug_options(self):
        """Of daemons built with sanitizers: to look for leaks they must be traceable."""
        made = self.build / "meson-info" / "intro-buildoptions.json"
        known = json.loads(made.read_text()) if made.exists() else []
        sanitized = any(o["name"] == "sanitize" and o["value"] != "none" for o in known)
        return ["--allow-core-dumps"] if sanitized else []

    def missing(self):
        return [p for p in (self.dataplane, self.drd, self.drcli, self.urd) if not p.exists()]

    def require(self):
        missing = self.missing()
        if missing:
            raise LabError(f"not built: {', '.join(map(str, missing))}; run scripts/build")


class Router:
    """The DR: dr-dataplane and drd in namespace `dr`, their files in `directory`."""

    def __init__(self, programs, namespace, directory, *, signalling=False):
        self.programs = programs
        self.signalling = signalling
        self.namespace = namespace
        self.directory = Path(directory)
        self.dataplane_socket = self.directory / "dataplane" / "dataplane.sock"
        self.drd_socket = self.directory / "drd" / "drd.sock"
        self.store = self.directory / "drd" / "drd.db"
        self.config = self.directory / "dr-dataplane.json"
        self.dataplane = None
        self.drd = None

    def write_configuration(self):
        for name, uid in (("dataplane", 0), ("drd", DRD_UID)):
            path = self.directory / name
            path.mkdir(mode=0o750, exist_ok=True)
            os.chown(path, uid, DRD_GID)
        config = {
            "socket": str(self.dataplane_socket),
            "workers": 1,
            "idle": "sleep",
            "capacity": CAPACITY,
            "ports": [{"name": device, "kind": "af_xdp", "interface": device}
                      for device in ("up0", "ix0")],
        }
        self.config.write_text(json.dumps(config, indent=2) + "\n")

    def start_dataplane(self):
        """Root with the group of drd, so that the socket's group is drd's."""
        self.dataplane = Process.start(
            "dr-dataplane",
            self.namespace.command(["setpriv", f"--regid={DRD_GID}", "--clear-groups",
                                    self.programs.dataplane, "--config", self.config,
                                    *self.programs.debug_options()]),
            self.directory / "dr-dataplane.log", ready="dr-dataplane: ready", seconds=60)

    def start_drd(self, *options, before=()):
        """An unprivileged user without a single capability. before: a command that runs it."""
        if self.signalling:
            options = (*options, "--signalling", f"{t.DR_IX4}:{SIGNALLING_PORT}")
        self.drd = Process.start(
            "drd",
            self.namespace.command([*before, "setpriv", f"--reuid={DRD_UID}", f"--regid={DRD_GID}",
                                    "--clear-groups", "--bounding-set=-all", "--inh-caps=-all",
                                    "--no-new-privs", self.programs.drd,
                                    "--listen", f"unix:{self.drd_socket}",
                                    "--store", self.store,
                                    "--dataplane", self.dataplane_socket,
                                    *self.programs.debug_options(), *options]),
            self.directory / "drd.log", ready="drd: ready", seconds=30)

    def drcli(self, *args, stdin=None, check=True, timeout=60):
        return run(self.drcli_command(*args), stdin=stdin, check=check, timeout=timeout)

    def drcli_command(self, *args):
        return [self.programs.drcli, "--server", f"unix:{self.drd_socket}", *args]

    def drcli_json(self, *args):
        return json.loads(self.drcli("-o", "json", *args).stdout)


def resources(sites):
    """What the lab provisions, as `drcli apply -f` takes it."""
    line = [{"line": "a", "weight": 1}, {"line": "b", "weight": 1}]
    objects = [
        {"pool": {"name": "lab-v4", "prefix": t.POOL4, "announce": False}},
        {"pool": {"name": "lab-v6", "prefix": t.POOL6, "announce": False}},
        {"policy": {"name": "both-lines",
                    "classes": [{"name": "all", "tiers": [{"lines": line}]}]}},
    ]
    for site in sites:
        objects.append({"subscriber": {"name": site.name, "prefixes": site.prefixes,
                                       "policy": "both-lines", "tunnels": site.tunnels()}})
    return objects


def signalled_resources(sites, wait_to_restore=60, profile="FIXED", line_b_over_ipv6=False,
                        every_kind=False, first="a"):
    """Sites that attach by themselves: line a first, line b when a is down; GRE-in-UDP, over IPv4
    unless told otherwise, the UR's ends learned. `every_kind`: line b over IPv6, and native GRE on
    line b of odd sites and on line a of even ones. `first`: "b", line a when b is down."""
    local = {"a": t.DR_IX4, "b": t.DR_IX6 if line_b_over_ipv6 or every_kind else t.DR_IX4}
    tiers = [{"lines": [{"line": line, "weight": 1}]} for line in sorted("ab", key=lambda line: line != first)]
    objects = [
        {"pool": {"name": "lab-v4", "prefix": t.POOL4, "announce": False}},
        {"pool": {"name": "lab-v6", "prefix": t.POOL6, "announce": False}},
        {"policy": {"name": "a-then-b", "waitToRestoreS": wait_to_restore,
                    "classes": [{"name": "all", "tiers": tiers}]}},
    ]
    for site in sites:
        native = {"ab"[site.number % 2]} if every_kind else set()
        tunnels = [{"line": line, "encapsulation": "GRE" if line in native else "GRE_UDP",
                    "local": local[line]} for line in ("a", "b")]
        objects.append({"subscriber": {"name": site.name, "prefixes": site.prefixes,
                                       "policy": "a-then-b", "profile": profile,
                                       "tunnels": tunnels}})
    return objects


def start_urd(programs, namespace, site, directory, options, before=()):
    """options: ["--config", FILE], or ["--credentials", FILE, "--state", FOLDER]; before: a command
    that runs it."""
    return Process.start(
        f"urd of {site.name}",
        namespace.command([*before, programs.urd, *options, *programs.debug_options(),
                           "--line", "a=wan-a", "--line", "b=wan-b", "--lan", "lan0"]),
        Path(directory) / f"urd-{site.name}.log", ready="urd: ready", seconds=30)
