"""What happens to a site's line in the lab that is kept: at the ISP's end of the cable, as in life.

A lab with link emulators has far more ways to fail (linkem.py); this needs no process that lives on.
"""

from .shell import run

# Twice is as good as once: the first line makes the table if there is none.
UNCUT = "table netdev cut_{device}\ndelete table netdev cut_{device}\n"
CUT = UNCUT + """table netdev cut_{device} {{
    chain in {{ type filter hook ingress device {device} priority 0; policy drop; }}
    chain out {{ type filter hook egress device {device} priority 0; policy drop; }}
}}
"""


def _isp(lab, line):
    return lab.net[f"isp{line}"]


def _device(site):
    return f"ur{site}"


def _nft(namespace, text):
    namespace.run(["nft", "-f", "-"], stdin=text)


def cut(lab, line, site=1):
    """Silently: the link stays up, everything on it is lost, and nobody is told."""
    _nft(_isp(lab, line), CUT.format(device=_device(site)))


def unplug(lab, line, site=1):
    """The UR sees its link go down."""
    _isp(lab, line).ip("link", "set", _device(site), "down")


def mend(lab, line, site=1):
    """Neither cut nor unplugged."""
    _nft(_isp(lab, line), UNCUT.format(device=_device(site)))
    _isp(lab, line).ip("link", "set", _device(site), "up")


def state(lab, line, site=1):
    """"plugged in", "cut" or "unplugged"."""
    isp, device = _isp(lab, line), _device(site)
    if "state DOWN" in isp.ip("link", "show", "dev", device).stdout:
        return "unplugged"
    known = run(isp.command(["nft", "list", "tables"])).stdout
    return "cut" if f"netdev cut_{device}" in known else "plugged in"
