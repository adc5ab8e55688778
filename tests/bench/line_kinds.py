"""The lines that people have, as `scripts/bench lines` makes them of a lab's link emulators.

Each kind impairs one line of site 1 before the daemons start; the other line is whole, and is the
second choice. Both have 100 Mbit/s unless the kind has a rate of its own.
"""

from dataclasses import dataclass, field

from lablib import faults
from lablib import topology as t
from lablib.switching import FROM_UR, TO_UR

MEGABIT = 1_000_000
PLAIN = {"rate": {"bit_s": 100 * MEGABIT, "queue_bytes": 250_000}}


def buffered(megabits, seconds):
    """A line of this rate behind a queue that takes so long to empty."""
    return {"rate": {"bit_s": megabits * MEGABIT,
                     "queue_bytes": int(megabits * MEGABIT / 8 * seconds)}}


def narrow(size, icmp):
    return {"mtu": {"bytes": size, "icmp": icmp}}


@dataclass(frozen=True)
class Kind:
    """`both`, `down`, `up`: impairments of the emulator, on top of PLAIN."""

    name: str
    what: str
    both: dict = field(default_factory=dict)
    down: dict = field(default_factory=dict)
    up: dict = field(default_factory=dict)
    line: str = "a"
    nat: bool = False  # symmetric: another port for each peer
    at_isp: object = None  # what the ISP's kernel does: a function of (lab, line)
    slow: bool = False  # a smaller file, else it takes minutes

    def apply(self, lab):
        for line in ("a", "b"):
            lab.line(line).set(**PLAIN)
        emulator = lab.line(self.line)
        emulator.set(TO_UR, **(self.both | self.down))
        emulator.set(FROM_UR, **(self.both | self.up))
        if self.nat:
            emulator.nat({"inside": lab.sites[0].wan4(self.line)[1], "first_port": 20000,
                          "symmetric": True})
        if self.at_isp is not None:
            self.at_isp(lab, self.line)


KINDS = [
    Kind("whole", "1500 bytes, nothing odd"),
    Kind("pppoe-1492", "PPPoE, 1492 bytes, ICMP", both=narrow(1492, True)),
    Kind("pppoe-1454", "PPPoE, 1454 bytes, ICMP", both=narrow(1454, True)),
    Kind("ds-lite", "DS-Lite: 1460 bytes and a CGN", both=narrow(1460, True), nat=True),
    Kind("firewall-ipv6", "IPv6, stateful firewall without NAT", line="b",
         at_isp=faults.firewall),
    Kind("cgn", "CGN: a symmetric NAT", nat=True),
    Kind("checksum-0", "UDP with checksum 0 is dropped", at_isp=faults.no_zero_checksums),
    Kind("hole-1300", "nothing above 1300 bytes, no ICMP", both=narrow(1300, False)),
    Kind("buffer", "50/5 Mbit/s, 500 ms of buffer", down=buffered(50, 0.5), up=buffered(5, 0.5),
         slow=True),
    Kind("lte", "LTE: 40/10 Mbit/s, 45 ms lognormal",
         both={"delay": {"kind": "lognormal", "median_ms": 45, "sigma": 0.3, "cap_ms": 300}},
         down=buffered(40, 0.3), up=buffered(10, 0.3), slow=True),
    Kind("duplicate", "5 % of the packets twice", both={"duplicate": 0.05}),
    Kind("reorder", "5 % of the packets 5 ms late",
         both={"reorder": {"probability": 0.05, "hold_ms": 5}}),
]
BY_NAME = {kind.name: kind for kind in KINDS}
OVER_IPV6 = {"line_b_over_ipv6": True, "first": "b"}


def signalled(kind):
    """How the lab's site attaches, so that the line of this kind is its first choice."""
    return {"wait_to_restore": 10} | (OVER_IPV6 if kind.line == "b" else {})


def ends(lab):
    """(name, source, its address, destination, its address) of the four ways that data goes."""
    site = lab.sites[0]
    four, six = (t.INET4, site.lan4), (t.INET6, site.lan6)
    ways = []
    for family, (inet, lan) in (("4", four), ("6", six)):
        ways += [(f"down{family}", "inet", inet, "lan1", lan),
                 (f"up{family}", "lan1", lan, "inet", inet)]
    return ways
