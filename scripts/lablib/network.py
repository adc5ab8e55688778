"""Builds the namespaces, cables, addresses and routes of topology.py."""

import os
import signal

from . import topology as t
from .linkem import LinkEmulator
from .netns import Namespace, cable, without_offloads
from .shell import LabError, wait_until


class Network:
    """All namespaces of one lab, named PREFIX-NODE; `net["dr"]` is one of them.

    With `emulated`, a directory for logs, each line of a UR passes through a link emulator:
    `net.lines["ur1", "a"]` and so on, whose direction "ab" is from the ISP to the UR.
    """

    def __init__(self, prefix, sites, *, emulated=None):
        self.sites = sites
        self.emulated = emulated
        self.lines = {}
        self.nodes = {node: Namespace(f"{prefix}-{node}", node) for node in t.nodes(sites)}

    def __getitem__(self, node):
        return self.nodes[node]

    def create(self):
        for namespace in self.nodes.values():
            namespace.create()
        self._internet()
        self._exchange()
        self._isps()
        for site in self.sites:
            self._site(site)

    def delete(self):
        for line in self.lines.values():
            line.close()
        self.lines = {}
        for namespace in self.nodes.values():
            if namespace.exists():
                namespace.delete()

    def end_processes(self):
        """Whatever still runs inside: shells, programs of an `up` that was interrupted."""
        def inside():
            return [pid for n in self.nodes.values() if n.exists() for pid in n.pids()]

        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in inside():
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass
            try:
                wait_until(lambda: not inside(), "the end of the lab's processes", seconds=5)
                return
            except LabError:
                pass

    def _internet(self):
        """The Internet host, which is also the DR's upstream: it routes the pools to the DR."""
        self["dr"].forward(False)
        self.connect_internet()

    def connect_internet(self):
        """The cable between the two, with what is configured on it; again after it was deleted."""
        inet, dr = self["inet"], self["dr"]
        cable(inet, "eth0", dr, "up0")
        inet.addresses("eth0", f"{t.INET4}/24", f"{t.INET6}/64")
        dr.addresses("up0", f"{t.DR_UP4}/24", f"{t.DR_UP6}/64")
        for namespace, device in ((inet, "eth0"), (dr, "up0")):
            without_offloads(namespace, device)
        for prefix, via in ((t.POOL4, t.DR_UP4), (t.SPARE_POOL4, t.DR_UP4), (t.POOL6, t.DR_UP6)):
            inet.route(prefix, via)
        dr.route("default", t.INET4)
        dr.route("default", t.INET6)

    def _exchange(self):
        """A switch on which the DR, both ISPs and the Internet host meet."""
        ix, dr = self["ix"], self["dr"]
        ix.ip("link", "add", "br0", "type", "bridge", "stp_state", "0", "mcast_snooping", "0")
        ix.ip("link", "set", "br0", "up")
        for node in ("dr", "ispa", "ispb", "inet"):
            cable(ix, node, self[node], "ix0")
            ix.ip("link", "set", node, "master", "br0")
        for namespace, device in ((ix, "dr"), (dr, "ix0")):
            without_offloads(namespace, device)
        dr.addresses("ix0", f"{t.DR_IX4}/24", f"{t.DR_IX6}/64")
        for line in ("a", "b"):
            dr.route(t.ISP_ACCESS4[line], t.ISP_IX4[line])
        dr.route(t.ISP_ACCESS6["b"], t.ISP_IX6["b"])

        inet = self["inet"]
        inet.addresses("ix0", f"{t.INET_IX4}/24", f"{t.INET_IX6}/64")
        for line in ("a", "b"):
            inet.route(t.ISP_ACCESS4[line], t.ISP_IX4[line])
        inet.route(t.ISP_ACCESS6["b"], t.ISP_IX6["b"])

    def _isps(self):
        for line in ("a", "b"):
            isp = self[f"isp{line}"]
            isp.forward()
            # Of a cable that is unplugged too: it will be plugged in again.
            isp.sysctl("net.ipv6.conf.all.keep_addr_on_down", 1)
            isp.addresses("ix0", f"{t.ISP_IX4[line]}/24")
            if line in t.ISP_IX6:
                isp.addresses("ix0", f"{t.ISP_IX6[line]}/64")
                isp.route("default", t.INET_IX6)
            isp.route("default", t.INET_IX4)

    def _line(self, site, line):
        """The access link of a line, from device ur1 of the ISP to device wan-a of the UR."""
        isp, ur = self[f"isp{line}"], self[f"ur{site.number}"]
        if self.emulated is None:
            cable(isp, ur.node, ur, f"wan-{line}")
            return
        emulator = LinkEmulator(f"{ur.node}-{line}", isp, ur.node, ur, f"wan-{line}",
                                directory=self.emulated, seed=site.number * 2 + (line == "b"))
        self.lines[ur.node, line] = emulator
        emulator.create_cables()
        emulator.start()

    def _site(self, site):
        ur, lan = self[f"ur{site.number}"], self[f"lan{site.number}"]
        ur.forward()
        for line in ("a", "b"):
            isp = self[f"isp{line}"]
            self._line(site, line)
            theirs, ours = site.wan4(line)
            isp.addresses(f"ur{site.number}", f"{theirs}/24")
            ur.addresses(f"wan-{line}", f"{ours}/24")
        theirs6, ours6 = site.wan6()
        self["ispb"].addresses(f"ur{site.number}", f"{theirs6}/64")
        ur.addresses("wan-b", f"{ours6}/64")
        ur.route("default", site.wan4("a")[0])
        # The second best, as every line brings one: so the site reaches the DR over b while a is gone.
        ur.ip("route", "add", "default", "via", site.wan4("b")[0], "metric", 200)
        ur.route("default", theirs6)
        cable(ur, "lan0", lan, "eth0")
        ur.addresses("lan0", f"{site.ur4}/29", f"{site.ur6}/64")
        lan.addresses("eth0", f"{site.lan4}/29", f"{site.lan6}/64")
        lan.route("default", site.ur4)
        lan.route("default", site.ur6)
