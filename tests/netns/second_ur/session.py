"""One tunnel's session, TUNNEL.md §8 and §9, profile `fixed` without the adapting of T."""

import random
import time

from . import messages as wire
from .path_mtu import CONTROL, PathMtu
from .peer import Peer

ADMIN_DOWN, DOWN, INIT, UP = range(4)
NAMES = ("AdminDown", "Down", "Init", "Up")
# By own state: what it becomes after AdminDown, Down, Init, Up was received.
TABLE = {DOWN: (DOWN, INIT, UP, DOWN), INIT: (DOWN, INIT, UP, UP), UP: (DOWN, DOWN, UP, UP),
         ADMIN_DOWN: (ADMIN_DOWN,) * 4}
NONE, DETECTION, PEER_SAID, ADMINISTRATIVE = 0, 1, 3, 7
LINK, PEER_RESTARTED, OTHER_LINE, NEVER_UP = 17, 18, 19, 20
ACTIVE, STANDBY, SLOW, T = 0.1, 0.5, 1.0, 1.0
MULTIPLIER, FAST_START = 3, 10
HEADERS = 36  # IPv4, UDP and GRE
U32, U16 = 0xFFFFFFFF, 0xFFFF


def micros(seconds):
    return round(seconds * 1e6)


def later(a, b, bits):
    """a after b, numbers modulo 2^bits (RFC 1982)."""
    return 0 < (a - b) % (1 << bits) < 1 << (bits - 1)


class Session:
    """`site` is the UR: clock, lines' view, choice. All times in seconds of the monotonic clock."""

    def __init__(self, site, tunnel, keys, salt, send):
        self.site, self.tunnel, self.line = site, tunnel, tunnel["lineNumber"]
        self.peer = Peer(tunnel["id"], keys, salt, send, self.believe)
        self.peer.describe = lambda: (self.state, self.diagnostic)
        self.state, self.diagnostic, self.changes = DOWN, NEVER_UP, []
        self.wish, self.confirmed = ACTIVE, ACTIVE  # how often to send and to receive
        self.asked = None  # tx time of the first keepalive with the present wish
        self.probing = None  # since when it is suspicious, with a long interval
        self.remote = None  # the newest keepalive's fields
        self.remote_at, self.heard = 0.0, 0.0
        self.restarted, self.adopted, self.peer_admin = False, 0, False
        self.data_sent = self.data_received = 0
        self.mtu = PathMtu(tunnel["mtu"], HEADERS)
        self.round_trip = None
        self.sent_from, self.observed = None, None
        self.fast, self.due = FAST_START, time.monotonic()

    # Timers

    def interval(self):
        if self.state != UP:
            return ACTIVE if self.fast > 0 else SLOW
        if self.probing:
            return ACTIVE
        own = min(self.wish, self.confirmed)
        return max(own, self.remote["required_rx"] / 1e6 if self.remote else ACTIVE)

    def expected(self):
        """I of §9: listening more strictly waits for the final, less strictly does not."""
        theirs = self.remote["desired_tx"] / 1e6 if self.remote else ACTIVE
        return max(self.wish, self.confirmed, theirs)

    def run(self, now):
        if self.state in (INIT, UP):
            self.detect(now)
        if now >= self.due:
            self.keepalive(now)
        if self.state == UP:
            gap = 0.2 if self.round_trip is None else min(max(2 * self.round_trip, 0.06), 1.0)
            for size in self.mtu.run(now, gap):
                self.peer.transmit(wire.PROBE, token=self.mtu.token, size=size)

    def carries(self):
        """The tunnel's MTU: the smaller of both directions."""
        theirs = self.remote["path_mtu"] if self.remote else 0
        return min(self.mtu.size, max(theirs, CONTROL) if theirs else self.mtu.size)

    def detect(self, now):
        silence = now - self.heard
        if self.state == INIT:
            limit = max(T, MULTIPLIER * SLOW)
        elif self.expected() <= ACTIVE:
            limit = max(T, MULTIPLIER * self.expected())
        else:
            suspect = max(min(3 * self.expected(), self.expected() + 1.0), 0.3)
            if silence > suspect and self.probing is None:
                self.probing = now
                self.due = now
            limit = suspect + T
        if silence > limit:
            self.change(DOWN, DETECTION)

    # Sending

    def keepalive(self, now, flags=0):
        if self.state == UP and (self.wish != self.confirmed or self.probing):
            flags |= wire.POLL
        tx_time = self.site.clock(now)
        if self.wish != self.confirmed and self.asked is None:
            self.asked = tx_time
        echo, hold = 0, wire.NOTHING_TO_ECHO
        if self.remote:
            echo, hold = self.remote["tx_time"], micros(now - self.remote_at)
        up, down = self.site.view()
        choice = self.site.choice
        fields = {"desired_tx": micros(self.wish), "required_rx": micros(self.wish),
                  "tx_time": tx_time, "echo_time": echo, "echo_hold": hold,
                  "received": self.peer.received & U32,
                  "highest": (self.peer.replay.highest if self.peer.replay else 0) & U32,
                  "data_sent": self.data_sent & U32, "data_received": self.data_received & U32,
                  "lines_up": up, "lines_down": down, "eligible": choice.eligible(),
                  "epoch": choice.epoch or 0, "policy_generation": self.site.policy_generation,
                  "path_mtu": self.mtu.size}
        self.peer.transmit(wire.KEEPALIVE, flags=flags, notes=self.notes(), fields=fields,
                           multiplier=MULTIPLIER)
        self.fast -= 1
        self.due = now + self.interval() * random.uniform(0.75, 1.0)

    def notes(self):
        if self.observed is None:
            return 0
        return wire.NAT_KNOWN | (wire.NAT if self.observed != self.sent_from else 0)

    # Receiving

    def believe(self, m, newest):
        now = time.monotonic()
        self.heard, self.probing = now, None
        if self.peer.adoptions > self.adopted:
            # The echo starts again too, and only a salt after another is a new start of the DR.
            self.restarted, self.adopted = self.adopted > 0, self.peer.adoptions
            self.remote = None
            self.fast, self.due = FAST_START, now
        if m.kind == wire.PROBE_ACK:
            self.mtu.acknowledged(m.token, m.size, now)
        if m.kind != wire.KEEPALIVE or not newest:
            return
        if m.fields["echo_hold"] != wire.NOTHING_TO_ECHO:
            taken = (self.site.clock(now) - m.fields["echo_time"] - m.fields["echo_hold"]) & U32
            self.round_trip = taken / 1e6
        if m.notes & wire.DATA_LOST or m.notes & wire.DATA_MISSING:
            self.mtu.confirm(now)
        self.remote, self.remote_at = m.fields, now
        self.observed = m.observed or self.observed
        if m.flags & wire.FINAL and self.asked is not None:
            if (m.fields["echo_time"] - self.asked) & U32 < 1 << 31:
                self.confirmed, self.asked = self.wish, None
        before = self.state
        self.step(m)
        self.site.heard_view(self, m, now)
        if m.flags & wire.POLL:
            self.keepalive(now, wire.FINAL)
        if before != self.state:
            return
        # A wish for slower keepalives may come while a long wait is under way, and end it.
        self.due = min(self.due, now + self.interval())

    def step(self, m):
        state = TABLE[self.state][m.state]
        if state == self.state:
            return
        if state == DOWN:
            again = self.restarted or m.diagnostic == PEER_RESTARTED
            self.peer_admin = m.state == ADMIN_DOWN
            self.change(DOWN, PEER_RESTARTED if again else PEER_SAID)
        else:
            never = self.diagnostic == NEVER_UP and state == INIT
            self.change(state, NEVER_UP if never else NONE)

    def change(self, state, diagnostic):
        now = time.monotonic()
        self.state, self.diagnostic = state, diagnostic
        self.changes.append((now, NAMES[state], diagnostic))
        self.probing = None
        if state == UP:
            self.restarted = False
            self.mtu.search(now)
        else:
            self.mtu.stop()
        if state == DOWN:
            self.wish = self.confirmed = ACTIVE
            self.asked, self.fast = None, FAST_START
        self.due = now
        self.site.state_changed(self, now)

    def set_wish(self, seconds):
        if seconds != self.wish:
            self.wish, self.asked = seconds, None
            self.due = time.monotonic()

    def known_down(self):
        """Whether `lines down` has it."""
        if self.diagnostic == PEER_SAID and self.peer_admin:
            return False
        return self.state == DOWN and self.diagnostic in (DETECTION, PEER_SAID, LINK, OTHER_LINE)
