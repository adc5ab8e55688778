"""A User Router in a thread: one UDP socket a line, GRE-in-UDP (TUNNEL.md §2), sessions, data."""

import ctypes
import ipaddress
import os
import secrets
import selectors
import socket
import struct
import threading
import time

from . import messages as wire
from .choice import Choice
from .session import ADMIN_DOWN, ADMINISTRATIVE, DOWN, LINK, OTHER_LINE, UP, Session, later, micros

PORT = 4754
CLONE_NEWNET = 0x40000000
SO_NO_CHECK = 11
IP_MTU_DISCOVER, IP_PMTUDISC_PROBE = 10, 3  # linux/in.h
TICK = 0.005


def in_namespace(name, function):
    """What `function` returns in a thread inside the network namespace; its sockets stay there."""
    result = []

    def enter():
        with open(f"/run/netns/{name}", "rb") as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) != 0:
                result.append(OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), name))
                return
        try:
            result.append(function())
        except OSError as error:
            result.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if isinstance(result[0], OSError):
        raise result[0]
    return result[0]


def udp_socket(namespace, address, device=None, port=PORT):
    def make():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
        # DF set, and nothing believed of the path's size: that is for the probes to find.
        sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
        if device:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        sock.bind((address, port))
        sock.setblocking(False)
        return sock
    return in_namespace(namespace, make)


def hop(packet):
    """One router hop: TTL or hop limit less one."""
    packet = bytearray(packet)
    if packet[0] >> 4 == 6:
        packet[7] -= 1
        return bytes(packet)
    packet[8] -= 1
    packet[10:12] = b"\0\0"
    total = sum(struct.unpack(f"!{(packet[0] & 15) * 2}H", packet[:(packet[0] & 15) * 4]))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    packet[10:12] = struct.pack("!H", total ^ 0xFFFF)
    return bytes(packet)


class Router:
    """tunnels: dicts with id, line (name), lineNumber, local, device, remote, mtu, keys."""

    def __init__(self, namespace, tunnels, *, prefixes, tiers, seed):
        self.lock = threading.RLock()
        self.prefixes = [ipaddress.ip_network(p) for p in prefixes]
        self.salt = secrets.randbits(64) or 1
        self.policy_generation = 0
        self.sessions, self.sockets, self.heard_tx = {}, {}, {}
        self.received = []  # (line number, inner packet), in order of arrival
        self.refused = dict.fromkeys(("source", "gre", "tunnel", "inner"), 0)
        self.sent = {}  # the last keepalives of each line, for who wants to replay them
        self.heard = {}
        self.choice = Choice(tiers, seed, self.sessions)
        self.selector = selectors.DefaultSelector()
        for tunnel in tunnels:
            number = tunnel["lineNumber"]
            self.sockets[number] = udp_socket(namespace, tunnel["local"], tunnel["device"])
            session = Session(self, tunnel, tunnel["keys"], self.salt,
                              lambda data, n=number: self.send_message(n, data))
            session.sent_from = (tunnel["local"], PORT)
            self.sessions[number] = session
            self.sent[number], self.heard[number] = [], []
            self.selector.register(self.sockets[number], selectors.EVENT_READ, session)
        self.silent = set()  # lines whose link is cut at this end: nothing goes, nothing comes
        self.ending = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def close(self):
        self.ending = True
        self.thread.join()
        self.selector.close()
        for sock in self.sockets.values():
            sock.close()

    # What sessions ask

    def clock(self, now):
        return micros(now) & 0xFFFFFFFF

    def view(self):
        up = sum(1 << n for n, s in self.sessions.items() if s.state == UP)
        down = sum(1 << n for n, s in self.sessions.items() if s.known_down())
        return up, down

    def heard_view(self, session, m, now):
        """A believed keepalive of one line tells of all lines."""
        self.heard_tx[session.line] = m.fields["tx_time"]
        for n, other in self.sessions.items():
            if m.fields["lines_down"] >> n & 1 and other is not session and other.state == UP:
                known = self.heard_tx.get(n)
                if known is None or not later(known, m.fields["tx_time"], 32):
                    other.change(DOWN, OTHER_LINE)
        adoptions = sum(s.peer.adoptions for s in self.sessions.values())
        self.choice.heard(m, adoptions)

    def state_changed(self, session, now):
        for other in self.sessions.values():
            if other is not session and other.state == UP:
                other.due = now

    # Sending and receiving

    def outer(self, number, protocol, payload):
        if number in self.silent:
            return
        tunnel = self.sessions[number].tunnel
        try:
            self.sockets[number].sendto(wire.gre(protocol, tunnel["id"]) + payload,
                                        (tunnel["remote"], PORT))
        except OSError:
            pass  # as if the line had lost it

    def send_message(self, number, data):
        if data[0] & 15 == wire.KEEPALIVE:
            self.sent[number] = self.sent[number][-99:] + [data]
        self.outer(number, wire.GRE_MESSAGE, data)

    def send(self, packet):
        """An inner packet from the LAN; the line that it went out on, None when there was none."""
        with self.lock:
            number = self.choice.line(packet)
            if number is not None:
                self.sessions[number].data_sent += 1
                protocol = wire.GRE_IPV6 if packet[0] >> 4 == 6 else wire.GRE_IPV4
                self.outer(number, protocol, hop(packet))
            return number

    def run(self):
        while not self.ending:
            for key, _ in self.selector.select(TICK):
                with self.lock:
                    self.drain(key.fileobj, key.data)
            now = time.monotonic()
            with self.lock:
                for session in self.sessions.values():
                    session.run(now)

    def drain(self, sock, session):
        while True:
            try:
                data, source = sock.recvfrom(65536)
            except OSError:
                return
            if session.line not in self.silent:
                self.take(session, data, source)

    def take(self, session, data, source):
        if len(data) < 8 or source[0] != session.tunnel["remote"]:
            self.refused["source"] += 1
            return
        flags, protocol, key = struct.unpack_from("!HHI", data)
        if flags != wire.GRE_FLAGS:
            self.refused["gre"] += 1
        elif key != session.tunnel["id"]:
            self.refused["tunnel"] += 1
        elif protocol == wire.GRE_MESSAGE and source[1] == PORT:
            if len(data) > 8 and data[8] & 15 == wire.KEEPALIVE:
                self.heard[session.line] = self.heard[session.line][-99:] + [data[8:]]
            session.peer.receive(data[8:])
        elif protocol in (wire.GRE_IPV4, wire.GRE_IPV6):
            session.data_received += 1
            self.deliver(session.line, data[8:])

    def deliver(self, line, packet):
        at = slice(24, 40) if packet[0] >> 4 == 6 else slice(16, 20)
        destination = ipaddress.ip_address(packet[at])
        if any(destination in p for p in self.prefixes if p.version == destination.version):
            self.received.append((line, hop(packet)))
        else:
            self.refused["inner"] += 1

    # What a test does to it

    def states(self):
        with self.lock:
            return {n: s.state for n, s in self.sessions.items()}

    def link_down(self, number):
        """The own link of a line goes down, as the system says."""
        with self.lock:
            self.silent.add(number)
            self.sessions[number].change(DOWN, LINK)

    def link_up(self, number):
        with self.lock:
            self.silent.discard(number)
            self.sessions[number].due = time.monotonic()

    def administrative_down(self):
        with self.lock:
            for session in self.sessions.values():
                session.change(ADMIN_DOWN, ADMINISTRATIVE)

    def set_keys(self, keys):
        """{line number: {key number: key}}."""
        with self.lock:
            for n, session in self.sessions.items():
                session.peer.set_keys(keys[n])
