"""What happens to a site's line in the lab that is kept: at the ISP's end of the cable, as in life.

A lab with link emulators has far more ways to fail (linkem.py); this needs no process that lives on.
"""

from . import delay as longer
from .saved import command
from .shell import LabError, run

# Twice is as good as once: the first line makes the table if there is none.
UNCUT = "table netdev cut_{device}\ndelete table netdev cut_{device}\n"
CUT = UNCUT + """table netdev cut_{device} {{
    chain in {{ type filter hook ingress device {device} priority 0; policy drop; }}
    chain out {{ type filter hook egress device {device} priority 0; policy drop; }}
}}
"""

UNFIREWALL = "table inet fw_{device}\ndelete table inet fw_{device}\n"
FIREWALL = UNFIREWALL + """table inet fw_{device} {{
    chain f {{
        type filter hook forward priority 0; policy accept;
        oifname {device} ct state established,related accept
        oifname {device} drop
    }}
}}
"""


UNZERO = "table inet zero_{device}\ndelete table inet zero_{device}\n"
NO_ZERO = UNZERO + """table inet zero_{device} {{
    chain f {{
        type filter hook forward priority 0; policy accept;
        iifname {device} udp checksum 0 drop
        oifname {device} udp checksum 0 drop
    }}
}}
"""


def _isp(lab, line):
    return lab.net[f"isp{line}"]


def _device(site):
    return f"ur{site}"


def _nft(namespace, text):
    namespace.run(["nft", "-f", "-"], stdin=text)


def _access(lab, line, site):
    """The ISP of a line; LabError where the lab did not come up so far."""
    isp = _isp(lab, line)
    if not isp.exists() or run(isp.command(["ip", "link", "show", "dev", _device(site)]),
                               check=False).returncode != 0:
        raise LabError(f"line {line} is not there: the lab did not come up; "
                       f"{command(lab.name)} down, then up")
    return isp


def cut(lab, line, site=1):
    """Silently: the link stays up, everything on it is lost, and nobody is told."""
    _nft(_access(lab, line, site), CUT.format(device=_device(site)))


def unplug(lab, line, site=1):
    """The UR sees its link go down."""
    _access(lab, line, site).ip("link", "set", _device(site), "down")


def mtu(lab, line, size, site=1):
    """The ISP's end takes and sends at most `size` bytes: larger packets from the site are lost
    without a word, larger ones to it earn the ISP's ICMP, as on a PPPoE access."""
    _access(lab, line, site).ip("link", "set", _device(site), "mtu", size)


def firewall(lab, line, site=1):
    """Stateful, without NAT: what nobody at the site has asked for does not reach it."""
    _nft(_access(lab, line, site), FIREWALL.format(device=_device(site)))


def no_zero_checksums(lab, line, site=1):
    """UDP datagrams without a checksum are dropped, as by some NAT64 and MAP-T borders."""
    _nft(_access(lab, line, site), NO_ZERO.format(device=_device(site)))


def delay(lab, line, milliseconds):
    """The round trip of all that passes the line's ISP becomes so much longer."""
    _access(lab, line, 1)
    longer.begin(lab, line, milliseconds)


def mend(lab, line, site=1):
    """None of the above."""
    longer.end(lab, line)
    isp = _access(lab, line, site)
    _nft(isp, (UNCUT + UNFIREWALL + UNZERO).format(device=_device(site)))
    isp.ip("link", "set", _device(site), "mtu", 1500, "up")


def state(lab, line, site=1):
    """"plugged in", "cut", "unplugged", or what limits the line."""
    try:
        isp, device = _access(lab, line, site), _device(site)
    except LabError:
        return "not there"
    shown = isp.ip("link", "show", "dev", device).stdout
    if "state DOWN" in shown:
        return "unplugged"
    known = run(isp.command(["nft", "list", "tables"])).stdout
    if f"netdev cut_{device}" in known:
        return "cut"
    size = shown.partition(" mtu ")[2].split()[0]
    limits = [f"MTU {size}"] * (size != "1500") + ["firewall"] * (f"inet fw_{device}" in known)
    extra = [longer.state(lab, line)] if longer.state(lab, line) else []
    return ", ".join(["plugged in", *limits, *extra])
