"""What somebody outside, and on the path, may send to a DR; and that nothing comes of it."""

import dataclasses
import struct
import time

from lablib import topology as t
from lablib.cases import expect
from lablib.shell import wait_until

from . import messages as wire
from .router import PORT, udp_socket

ELSEWHERE = "198.18.1.9"  # on the access network of line a
# Between messages: a worker takes 200 a second that do not look genuine, of one tunnel.
PACE = 0.008


class Undisturbed:
    """Counters to grow by just so much while, at the end, no session has noticed anything."""

    def __init__(self, lab, counters, line=0):
        self.lab, self.counters, self.line = lab, counters, line

    def look(self):
        tunnels = self.lab.tunnels().values()
        return {"states": [x["state"] for x in tunnels],
                "endpoints": [x["liveness"]["endpoint"] for x in tunnels],
                "changes": [list(s.changes) for s in self.lab.ur.sessions.values()],
                "adopted": [s.peer.adoptions for s in self.lab.ur.sessions.values()]}

    def __enter__(self):
        self.before, self.known = self.look(), self.lab.counters()
        return self

    def grown(self):
        now = self.lab.counters()
        return {name: now[name] - self.known[name] for name in self.counters}

    def __exit__(self, kind, *_):
        if kind is not None:
            return
        try:
            wait_until(lambda: all(self.grown()[n] >= c for n, c in self.counters.items()),
                       "the counters", seconds=3)
        finally:
            grown = self.grown()
            expect(grown == self.counters, f"counted {grown}, not {self.counters}")
        heard = self.lab.ur.sessions[self.line].peer.received
        wait_until(lambda: self.lab.ur.sessions[self.line].peer.received > heard + 1,
                   "keepalives of the live session")
        now = self.lab.counters()
        for name in ("keepalive.downs", "keepalive.adopted_salts", "keepalive.adopted_endpoints"):
            expect(now[name] == self.known[name], f"{name} has moved")
        expect(self.look() == self.before, f"disturbed: {self.before}\n{self.look()}")


def genuine(lab, line=0, **changes):
    """A new keepalive of the live session, never sent; `changes`: of its header."""
    with lab.ur.lock:
        peer = lab.ur.sessions[line].peer
        m = wire.decode(lab.ur.sent[line][-1])
        peer.counter += 1
        m = dataclasses.replace(m, counter=peer.counter, **changes)
        return wire.encode(m, peer.own[m.key_number])


def answer(lab, token, line=0):
    """Of the live session's owner to a challenge."""
    with lab.ur.lock:
        return lab.ur.sessions[line].peer.message(wire.ANSWER, answer=token)


def forged(message):
    """The tag's last bit is another."""
    return message[:-1] + bytes([message[-1] ^ 1])


def shortened(message, length):
    """Cut, with a length field that says so."""
    cut = message[:length]
    return cut[:2] + struct.pack("!H", length) + cut[4:] if length >= 4 else cut


class Outsider:
    """A socket at an address that is nobody's; counts what it is answered."""

    def __init__(self, lab, line=0):
        self.lab, self.line = lab, line
        ur = lab.net["ur1"]
        ur.addresses("wan-a", f"{ELSEWHERE}/24")
        self.socket = udp_socket(ur.name, ELSEWHERE, "wan-a")
        self.sent = 0
        self.answers = []

    def send(self, message, key=None):
        key = self.lab.ur.sessions[self.line].tunnel["id"] if key is None else key
        self.sent += len(message)
        self.socket.sendto(wire.gre(wire.GRE_MESSAGE, key) + message, (t.DR_IX4, PORT))

    def read(self):
        """What was answered so far, without GRE headers."""
        while True:
            try:
                self.answers.append(self.socket.recv(65536)[8:])
            except BlockingIOError:
                return self.answers

    def close(self):
        self.socket.close()
        self.lab.net["ur1"].ip("address", "del", f"{ELSEWHERE}/24", "dev", "wan-a")


def send_all(lab, messages, line=0, key=None):
    """From the UR's own address and port, one by one."""
    ur = lab.ur
    key = ur.sessions[line].tunnel["id"] if key is None else key
    for message in messages:
        ur.sockets[line].sendto(wire.gre(wire.GRE_MESSAGE, key) + message, (t.DR_IX4, PORT))
        time.sleep(PACE)
