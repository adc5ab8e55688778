"""The lab's network: who is where, with which addresses.

    inet ── up0 DR ix0 ── ix (a switch: the exchange) ─┬─ ispa ── ur1 ── lan1
      └───────────────────┘                            └─ ispb ──┘

The Internet host is at the exchange too: what a UR sends from a line's own address reaches it
without the DR.

Line a is an IPv4-only ISP; line b has both families. Site n has the prefixes
203.0.113.(8n)/29 and 2001:db8:5000:(n)00::/56. Documentation and benchmarking addresses only.
"""

from dataclasses import dataclass

POOL4 = "203.0.113.0/24"
POOL6 = "2001:db8:5000::/40"
# Of the README's first provisioning: in no pool until somebody makes it.
SPARE_POOL4 = "198.18.200.0/24"

INET4, INET6 = "192.0.2.2", "2001:db8:f::2"
DR_UP4, DR_UP6 = "192.0.2.1", "2001:db8:f::1"
DR_IX4, DR_IX6 = "198.51.100.1", "2001:db8:e::1"
INET_IX4, INET_IX6 = "198.51.100.254", "2001:db8:e::fe"
ISP_IX4 = {"a": "198.51.100.2", "b": "198.51.100.3"}
ISP_IX6 = {"b": "2001:db8:e::3"}
# What each ISP hands out to its customers.
ISP_ACCESS4 = {"a": "198.18.0.0/18", "b": "198.18.64.0/18"}
ISP_ACCESS6 = {"b": "2001:db8:b::/48"}


@dataclass(frozen=True)
class Site:
    """A subscriber's site: one UR with lines a and b, and one host on its LAN."""

    number: int

    @property
    def name(self):
        return f"site-{self.number}"

    @property
    def prefixes(self):
        return [f"203.0.113.{8 * self.number}/29", f"2001:db8:5000:{self.number}00::/56"]

    @property
    def ur4(self):
        return f"203.0.113.{8 * self.number + 1}"

    @property
    def lan4(self):
        return f"203.0.113.{8 * self.number + 2}"

    @property
    def ur6(self):
        return f"2001:db8:5000:{self.number}00::1"

    @property
    def lan6(self):
        return f"2001:db8:5000:{self.number}00::10"

    def wan4(self, line):
        """(ISP's, UR's) IPv4 address on the line's access link, a /24."""
        third = {"a": 0, "b": 64}[line] + self.number
        return f"198.18.{third}.1", f"198.18.{third}.2"

    def wan6(self):
        """(ISP's, UR's) IPv6 address on line b, a /64."""
        return f"2001:db8:b:{self.number}::1", f"2001:db8:b:{self.number}::2"

    def tunnels(self):
        """As `drcli apply` takes them. Odd sites: GRE-in-UDP over IPv4 on line a, GRE over IPv6
        on line b; even sites the other way round, so that two sites use all four."""
        over4 = {"local": DR_IX4, "remote": self.wan4("a")[1]}
        over6 = {"local": DR_IX6, "remote": self.wan6()[1]}
        first, second = ("GRE_UDP", "GRE") if self.number % 2 else ("GRE", "GRE_UDP")
        return [{"line": "a", "encapsulation": first, **over4},
                {"line": "b", "encapsulation": second, **over6}]


@dataclass(frozen=True)
class SpareSite(Site):
    """A site that nobody has provisioned: its LAN has the addresses of the README's examples."""

    @property
    def name(self):
        return f"shop-{self.number + 5}"

    @property
    def prefixes(self):
        return [f"198.18.200.{8 * (self.number - 1)}/29",
                f"2001:db8:5000:{self.number}00::/56"]

    @property
    def ur4(self):
        return f"198.18.200.{8 * (self.number - 1) + 1}"

    @property
    def lan4(self):
        return f"198.18.200.{8 * (self.number - 1) + 2}"


def picture(*, static):
    b = "GRE --------" if static else "GRE-in-UDP -"
    return f"""
    inet              dr                         ispa (IPv4 only)        ur1            lan1
    Internet host     Distribution Router        .--- line a: GRE-in-UDP ---.
    192.0.2.2 ------- up0        ix0 --- ix ----<     over IPv4              >--- LAN --- 203.0.113.10
    2001:db8:f::2     192.0.2.1  198.51.100.1    '--- line b: {b}--'             2001:db8:5000:100::10
                      AF_XDP     AF_XDP          ispb     over IPv6
"""


def nodes(sites):
    names = ["inet", "dr", "ix", "ispa", "ispb"]
    for site in sites:
        names += [f"ur{site.number}", f"lan{site.number}"]
    return names
