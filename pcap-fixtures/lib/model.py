"""What is provisioned."""

from dataclasses import dataclass, field

from . import flow
from .topology import DR4, DR6, LINE_A4, LINE_A6, LINE_B4, LINE_B6

GRE, GRE_UDP = "GRE", "GRE_UDP"
PORT = 4754
PATH_MTU = 1500


@dataclass
class Tunnel:
    line: str
    encapsulation: str
    local: str
    remote: str
    id: int
    remote_port: int = None
    mtu: int = None

    @property
    def outer(self):
        return 6 if ":" in self.local else 4

    @property
    def overhead(self):
        return (20 if self.outer == 4 else 40) + (8 if self.encapsulation == GRE_UDP else 0) + 8

    @property
    def largest(self):
        """The largest inner packet."""
        return self.mtu or PATH_MTU - self.overhead

    def resource(self):
        names = {"line": self.line, "encapsulation": self.encapsulation, "local": self.local,
                 "remote": self.remote, "remotePort": self.remote_port, "id": self.id,
                 "mtu": self.mtu}
        return {k: v for k, v in names.items() if v is not None}


@dataclass
class Subscriber:
    name: str
    prefixes: list
    tunnels: list
    policy: str = "default"
    hash_seed: int = None
    tiers: list = field(default_factory=lambda: [[("a", 1)]])

    @property
    def seed(self):
        return flow.default_seed(self.name) if self.hash_seed is None else self.hash_seed

    def tunnel_of(self, packet, hashed=None):
        """The tunnel that the packet's flow takes."""
        if hashed is None:
            hashed = flow.flow_hash(bytes(packet), self.seed)
        lines = flow.bucket_map(self.tiers, {t.line for t in self.tunnels})
        line = lines[flow.bucket(hashed)]
        return next((t for t in self.tunnels if t.line == line), None)

    def resource(self):
        out = {"name": self.name, "prefixes": self.prefixes, "policy": self.policy,
               "tunnels": [t.resource() for t in self.tunnels]}
        if self.hash_seed is not None:
            out["hashSeed"] = self.hash_seed
        return {"subscriber": out}

    def policy_resource(self):
        lines = [{"lines": [{"line": n, "weight": w} for n, w in tier]} for tier in self.tiers]
        return {"policy": {"name": self.policy, "classes": [{"name": "all", "tiers": lines}]}}


SITE4, SITE6 = "203.0.113.10", "2001:db8:5000:100::10"
OTHER4, OTHER6 = "203.0.113.20", "2001:db8:5000:200::20"
KEY_A, KEY_B, KEY_C, KEY_D = 0x01000029, 0x0200002A, 0x0300002B, 0x0400002C


def tunnel(encapsulation=GRE_UDP, outer=4, line="a", key=None, **more):
    remote = {("a", 4): LINE_A4, ("a", 6): LINE_A6, ("b", 4): LINE_B4, ("b", 6): LINE_B6,
              ("c", 4): "198.51.100.207", ("c", 6): "2001:db8:c::207"}
    key = key or {"a": KEY_A, "b": KEY_B, "c": KEY_D}[line]
    return Tunnel(line, encapsulation, DR4 if outer == 4 else DR6, remote[line, outer], key, **more)


def site(*tunnels, **more):
    """The subscriber of most cases: owner of SITE4 and SITE6."""
    return Subscriber("site-42", ["203.0.113.8/29", "2001:db8:5000:100::/56"],
                      list(tunnels) or [tunnel()], **more)


def other(encapsulation=GRE, outer=4, **more):
    """A second subscriber, for hairpins: owner of OTHER4 and OTHER6."""
    remote = "198.51.100.33" if outer == 4 else "2001:db8:c::33"
    far = Tunnel("a", encapsulation, DR4 if outer == 4 else DR6, remote, KEY_C)
    return Subscriber("site-43", ["203.0.113.16/28", "2001:db8:5000:200::/56"], [far], **more)
