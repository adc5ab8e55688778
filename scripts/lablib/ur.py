"""What tests ask of a site's urd that attached by its credentials."""

import json
import signal
from contextlib import contextmanager

from . import topology as t
from .shell import LabError, wait_until

TUNNEL_PORT = 4754


def status(lab, site=1):
    return json.loads(lab.net[f"ur{site}"].run([lab.programs.urd, "status", "--json"]).stdout)


def tunnel(lab, line, site=1):
    """The tunnel over a line as urd has it; None: no such tunnel."""
    return next((x for x in status(lab, site)["tunnels"] if x["line"] == line), None)


def wait_for(lab, line, what, *, seconds=10, site=1):
    """Until the tunnel's members are these; returns it."""
    def there():
        now = tunnel(lab, line, site)
        return now if now and all(now.get(k) == v for k, v in what.items()) else None
    try:
        return wait_until(there, f"line {line} {what}", seconds=seconds, interval=0.05)
    except LabError as error:
        raise LabError(f"{error}; it is {tunnel(lab, line, site)}") from error


def wait_up(lab, lines=("a", "b"), *, seconds=10, site=1):
    for line in lines:
        wait_for(lab, line, {"state": "up"}, seconds=seconds, site=site)


def wait_carries(lab, line, *, seconds=10, site=1):
    """Until all of the traffic is on this line."""
    other = {"a": "b", "b": "a"}[line]
    wait_for(lab, line, {"carries": True}, seconds=seconds, site=site)
    wait_for(lab, other, {"carries": False}, seconds=seconds, site=site)


def link(lab, line, up, site=1):
    """A line's link; the routes that the kernel drops with it come back as a DHCP client has it."""
    ur, gateway = lab.net[f"ur{site}"], lab.sites[site - 1].wan4(line)[0]
    ur.ip("link", "set", f"wan-{line}", "up" if up else "down")
    if up:
        ur.ip("route", "replace", "default", "via", gateway, *(() if line == "a" else ("metric", 200)))


@contextmanager
def stopped(lab, site=1):
    """urd does not run meanwhile: what holds is what is in the kernel."""
    urd = lab.urds[f"site-{site}"]
    urd.send(signal.SIGSTOP)
    try:
        yield
    finally:
        urd.send(signal.SIGCONT)


def pings(lab, seconds=5):
    """Until one ping from the site's host to the Internet host is answered."""
    wait_until(lambda: lab.ping("lan1", t.INET4, check=False).returncode == 0,
               "an answered ping through the tunnels", seconds=seconds)
