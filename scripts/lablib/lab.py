"""A whole lab: network, DR, URs, provisioned. A context manager for tests; scripts/lab keeps one."""

import json
import shutil
import tempfile
import uuid
from pathlib import Path

from . import topology as t
from .network import Network
from .process import tail
from .programs import (SIGNALLING_PORT, Programs, Router, resources, signalled_resources,
                       start_urd)
from .shell import LabError, run, wait_until


class Lab:
    """`emulated=True` puts a link emulator into each line: `lab.line("a").set(loss=0.1)`.

    `signalled={...}`: URs know only their credentials and attach to drd; the arguments are those of
    signalled_resources(). Otherwise all is configured, without keepalives.

    `spare_sites` have lines, a router and a host, and are neither provisioned nor run by the lab.
    """

    def __init__(self, name, directory, *, sites=1, spare_sites=0, programs=None, emulated=False,
                 signalled=None):
        self.name = name
        self.signalled = signalled
        self.directory = Path(directory)
        self.programs = programs or Programs()
        self.sites = [t.Site(n + 1) for n in range(sites)]
        spare = [t.SpareSite(sites + n + 1) for n in range(spare_sites)]
        self.net = Network(name, self.sites + spare,
                           emulated=self.directory if emulated else None)
        self.router = Router(self.programs, self.net["dr"], directory,
                             signalling=signalled is not None)
        self.urds = {}
        self.helpers = []  # servers and the like, ended with the lab

    def bring_up(self, tell=lambda text: None):
        """Everything, in order; `tell` hears of each step before it is taken."""
        self.programs.require()
        tell("network: namespaces, cables, addresses, routes")
        self.create_network()
        self.bring_up_programs(tell)

    def bring_up_programs(self, tell=lambda text: None):
        tell("dr-dataplane: AF_XDP on up0 and ix0")
        self.router.start_dataplane()
        tell("drd: as an unprivileged user; gRPC on a Unix socket" + (
            "" if self.signalled is None else f", sites attach at {t.DR_IX4}:{SIGNALLING_PORT}"))
        self.router.start_drd()
        tell("drcli apply: two pools of addresses, a policy, a subscriber with two tunnels")
        self.provision()
        for site in self.sites:
            if self.signalled is None:
                tell(f"urd --config on ur{site.number}: what `drcli subscriber ur-config` wrote")
            else:
                tell(f"drcli subscriber enroll {site.name}: credentials, and where the DR is, in one "
                     "file")
                tell(f"urd --credentials on ur{site.number}: it knows that file and its devices, "
                     "no more")
            self.start_urd(site)

    def create_network(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o755)
        self.net.create()
        self.router.write_configuration()

    def provision(self):
        path = self.directory / "provision.ndjson"
        objects = (resources(self.sites) if self.signalled is None
                   else signalled_resources(self.sites, **self.signalled))
        path.write_text("".join(json.dumps(o) + "\n" for o in objects))
        self.router.drcli("apply", "-f", path)
        self.wait_in_sync()

    def wait_in_sync(self, seconds=20):
        """Until the data plane has acknowledged the store's last commit."""
        wait_until(self.in_sync, "drd and dr-dataplane in sync", seconds=seconds, interval=0.05)

    def in_sync(self):
        status = self.router.drcli_json("system", "status")
        return (status["dataplaneState"] == "IN_SYNC"
                and status["installedRevision"] == status["storeRevision"])

    def start_urd(self, site, before=(), more=()):
        """before: a command that runs it; more: options of urd."""
        config = self.directory / f"urd-{site.name}.json"
        state = self.directory / f"urd-{site.name}-state"
        if self.signalled is not None:
            state.mkdir(exist_ok=True)
            if not config.exists():
                self.router.drcli("subscriber", "enroll", site.name, "--out", config)
            options = ["--credentials", config, "--state", state]
        else:
            if site.name not in self.urds:
                config.write_text(self.router.drcli("subscriber", "ur-config", site.name).stdout)
            options = ["--config", config]
        self.urds[site.name] = start_urd(self.programs, self.net[f"ur{site.number}"], site,
                                         self.directory, [*options, *more], before)

    def urd_status(self, site):
        return self.net[f"ur{site.number}"].run([self.programs.urd, "status"], check=False).stdout

    def line(self, name, site=1):
        """The link emulator of a site's line; "ab" is from the ISP to the UR, "ba" back."""
        return self.net.lines[f"ur{site}", name]

    def processes(self):
        every = [self.router.drd, self.router.dataplane, *self.urds.values(), *self.helpers]
        return [p for p in every if p is not None]

    def tunnels(self):
        """TunnelStatus objects by (subscriber, line)."""
        return {(s["subscriber"], s["tunnel"]["line"]): s
                for s in self.router.drcli_json("tunnel", "list")}

    def counters(self):
        """Every counter of the data plane by name."""
        return self.router.drcli_json("stats", "show")["counters"]

    def buffers(self):
        """Packet buffers of the data plane that are in use."""
        status = self.router.drcli_json("system", "status")
        return sum(row["rows"] for row in status["memory"] if row["what"].startswith("buffers"))

    def ping(self, node, address, *options, count=1, check=True):
        return self.net[node].run(["ping", "-n", "-c", count, "-i", "0.05", "-W", "2", *options,
                                   address], check=check)

    def describe(self):
        """For the report of a failed case: drop counters, and the ends of the daemons' logs."""
        text = self.router.drcli("stats", "show", "drop.", check=False).stdout
        lines = [line for line in text.splitlines() if not line.rstrip().endswith(" 0")]
        for process in (self.router.dataplane, self.router.drd, *self.urds.values()):
            if process is not None:
                state = "runs" if process.alive() else "ended"
                lines.append(f"{process.name} {state}; the end of its log:")
                lines.append(tail(process.output(), 8))
        lines += [self.urd_status(site) for site in self.sites if site.name in self.urds]
        return "\n".join(lines)

    def close(self):
        # URs first: they remove their routes and programs while their devices exist.
        for process in [*self.helpers, *self.urds.values(), self.router.drd, self.router.dataplane]:
            if process is not None:
                process.stop()
        self.net.end_processes()
        self.net.delete()
        shutil.rmtree(self.directory, ignore_errors=True)


class temporary_lab:
    """`with temporary_lab(sites=2) as lab:` a lab of its own name, gone afterwards."""

    def __init__(self, *, sites=1, bring_up=True, emulated=False, signalled=None):
        self.name = f"drt-{uuid.uuid4().hex[:6]}"
        self.sites = sites
        self.bring_up = bring_up
        self.emulated = emulated
        self.signalled = signalled

    def __enter__(self):
        self.lab = Lab(self.name, tempfile.mkdtemp(prefix=self.name + "."), sites=self.sites,
                       emulated=self.emulated, signalled=self.signalled)
        try:
            if self.bring_up:
                self.lab.bring_up()
        except BaseException:
            self.lab.close()
            raise
        return self.lab

    def __exit__(self, *_):
        self.lab.close()


def may_use_namespaces():
    """Why a lab cannot be built here, or None."""
    probe = f"drt-{uuid.uuid4().hex[:6]}"
    try:
        run(["ip", "netns", "add", probe])
    except LabError as error:
        return f"network namespaces cannot be made here ({error})"
    run(["ip", "netns", "del", probe])
    return None
