"""Who is believed, TUNNEL.md §7: salts, replay, challenges and answers, for one tunnel of a UR."""

import secrets
import time

from . import messages as wire

UR, DR = 1, 0
TOKEN_LIFE = 8.0
RATE = 0.020
WINDOW = 64


class Replay:
    """The highest counter, and which of the 64 up to it were seen."""

    def __init__(self, highest):
        self.highest = highest
        self.seen = (1 << WINDOW) - 1  # bit n: highest - n

    def fresh(self, counter):
        late = self.highest - counter
        return late < 0 or (late < WINDOW and not self.seen >> late & 1)

    def mark(self, counter):
        """True when it is the highest so far."""
        late = self.highest - counter
        if late >= 0:
            self.seen |= 1 << late
            return False
        self.seen = (self.seen << min(-late, WINDOW) | 1) & ((1 << WINDOW) - 1)
        self.highest = counter
        return True


class Peer:
    """Verifies what comes, numbers and tags what goes. Calls `believed(message, newest)`."""

    def __init__(self, gre_key, keys, salt, send, believed):
        self.gre_key, self.salt = gre_key, salt
        self.send, self.believed = send, believed
        self.set_keys(keys)
        self.counter = 0
        self.peer_salt, self.replay, self.received = None, None, 0
        self.adoptions = 0
        self.tokens = {}  # token: (salt it was made for, when)
        self.last = {"challenge": 0.0, "answer": 0.0}
        self.refused = dict.fromkeys(("malformed", "key", "tag", "replay", "token"), 0)
        self.describe = lambda: (1, 20)  # state and diagnostic for every header

    def set_keys(self, keys):
        """{number: 32 bytes}, the newest first: it is sent with, any is accepted."""
        self.numbers = list(keys)
        self.own = {n: wire.mac_key(k, UR, n, self.gre_key) for n, k in keys.items()}
        self.theirs = {n: wire.mac_key(k, DR, n, self.gre_key) for n, k in keys.items()}

    def message(self, kind, **more):
        self.counter += 1
        state, diagnostic = self.describe()
        number = self.numbers[0]
        m = wire.Message(kind, number, self.salt, self.counter, state, diagnostic, **more)
        return wire.encode(m, self.own[number])

    def transmit(self, kind, **more):
        self.send(self.message(kind, **more))

    def receive(self, data):
        """From the DR's endpoint; the GRE key has been found to be this tunnel's."""
        try:
            m = wire.decode(data)
        except wire.Malformed:
            self.refused["malformed"] += 1
            return
        if m.key_number not in self.theirs:
            self.refused["key"] += 1
        elif not wire.genuine(m, self.theirs[m.key_number]):
            self.refused["tag"] += 1
        elif m.salt != self.peer_salt:
            self.unknown_salt(m)
        elif not self.replay.fresh(m.counter):
            self.refused["replay"] += 1
        else:
            self.received += 1
            self.take(m, self.replay.mark(m.counter))

    def unknown_salt(self, m):
        if m.kind == wire.CHALLENGE:
            self.limited("answer", wire.ANSWER, m)
        elif m.kind != wire.ANSWER:
            self.limited("challenge", wire.CHALLENGE, m)
        elif self.valid(m):
            self.peer_salt, self.replay, self.received = m.salt, Replay(m.counter), 1
            self.adoptions += 1
            self.tokens.clear()
            self.take(m, True)
        else:
            self.refused["token"] += 1

    def take(self, m, newest):
        if m.kind == wire.CHALLENGE or (m.kind == wire.ANSWER and m.token):
            self.transmit(wire.ANSWER, answer=m.token)
        if m.kind == wire.PROBE:
            self.transmit(wire.PROBE_ACK, token=m.token, size=m.size)
        self.believed(m, newest)

    def limited(self, what, kind, cause):
        """A challenge to who sent `cause`, or the answer to it that challenges too."""
        now = time.monotonic()
        if now - self.last[what] < RATE:
            return
        self.last[what] = now
        token = secrets.randbits(64) or 1
        self.tokens = {t: v for t, v in self.tokens.items() if now - v[1] < TOKEN_LIFE}
        self.tokens[token] = (cause.salt, now)
        self.transmit(kind, token=token, answer=cause.token)

    def valid(self, m):
        salt, made = self.tokens.get(m.answer, (None, 0))
        return salt == m.salt and time.monotonic() - made < TOKEN_LIFE
