"""What a live site looks like to both ends, before and after an attack."""

from lablib import ur
from lablib.cases import expect
from lablib.shell import wait_until

STILL = ("keepalive.downs", "keepalive.false_downs", "keepalive.adopted_salts",
         "keepalive.adopted_endpoints")
AT_UR = ("line", "state", "flaps", "endpoint", "local", "remote", "carries")
AT_DR = ("endpoint", "flaps", "peerPathMtu")


class Undisturbed:
    """`with Undisturbed(lab) as watch:` fails unless no tunnel of the site has noticed anything.

    States, flaps, endpoints and MTUs are the previous ones at both ends, nothing was adopted, no
    tunnel has come up again meanwhile, and keepalives go on afterwards. watch.grown() tells which
    counters of the DR have moved.
    """

    def __init__(self, lab, site=1, counters=STILL):
        """counters: of the DR, of all its sites; these do not move."""
        self.lab, self.site, self.still = lab, site, counters

    def look(self):
        at_ur = ur.status(self.lab, self.site)
        tunnels = [x for (name, _), x in sorted(self.lab.tunnels().items())
                   if name == self.lab.sites[self.site - 1].name]
        return {
            "mtu": at_ur["mtu"],
            "ur": [[x[k] for k in AT_UR] for x in at_ur["tunnels"]],
            "dr": [[x["state"], *[x["liveness"][k] for k in AT_DR]] for x in tunnels]}

    def since(self):
        return [x["sinceMs"] for x in ur.status(self.lab, self.site)["tunnels"]]

    def __enter__(self):
        # What comes up has things to find out: it is settled when nothing moves any more.
        wait_until(lambda: (before := self.look(), self.lab.counters())[0] == before == self.look(),
                   "a settled site")
        self.before, self.up, self.known = self.look(), self.since(), self.lab.counters()
        return self

    def grown(self, *prefixes):
        """By name, those that grew, of the names with one of the prefixes."""
        now = self.lab.counters()
        return {name: count - self.known.get(name, 0) for name, count in now.items()
                if name.startswith(prefixes) and count > self.known.get(name, 0)}

    def __exit__(self, kind, *_):
        if kind is not None:
            return
        heard = self.lab.counters()["keepalive.received"]
        wait_until(lambda: self.lab.counters()["keepalive.received"] > heard + 3,
                   "keepalives that the DR believes")
        after, up, now = self.look(), self.since(), self.lab.counters()
        expect(after == self.before, f"disturbed: {self.before}\nis now {after}")
        expect(all(b > a for a, b in zip(self.up, up)), f"came up again: {self.up} -> {up} ms")
        moved = [name for name in self.still if now[name] != self.known[name]]
        expect(not moved, f"{', '.join(moved)} moved")
