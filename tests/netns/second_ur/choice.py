"""Which line a flow takes, TUNNEL.md §11, for a policy of one class: follow the DR's set."""

from . import messages as wire
from .flow import flow_hash, flow_of
from .session import UP, later


class Choice:
    """`tiers`: flow.Tier in order. `sessions`: {line: Session}."""

    def __init__(self, tiers, seed, sessions):
        self.tiers, self.seed, self.sessions = tiers, seed, sessions
        self.epoch, self.lines, self.adoptions = None, None, 0

    def heard(self, m, adoptions):
        """A believed keepalive; `adoptions`: of DR salts so far, over all tunnels."""
        if not m.notes & wire.CHOICE:
            return
        epoch = m.fields["epoch"]
        if self.epoch is None or adoptions > self.adoptions or later(epoch, self.epoch, 16):
            self.epoch, self.lines, self.adoptions = epoch, m.fields["eligible"], adoptions

    def eligible(self):
        up = sum(1 << line for line, s in self.sessions.items() if s.state == UP)
        if self.lines is None:
            return up
        return self.lines & up or (up if self.lines else 0)

    def line(self, packet):
        """The line that the inner packet leaves on; None without an eligible one."""
        eligible = {i for i in self.sessions if self.eligible() >> i & 1}
        for tier in self.tiers:
            if eligible & set(tier.weights):
                return tier.walk(flow_hash(flow_of(packet), self.seed) >> 24, eligible)
        return None
