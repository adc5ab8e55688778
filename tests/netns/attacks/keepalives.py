"""Messages of the tunnel protocol from somebody who has no key (proto/TUNNEL.md §6)."""

import random
import struct

from . import frames as f

HEADER = struct.Struct("!BBHBBBBQQ")
LENGTH, CHALLENGE_LENGTH, TAG = 88, 56, 16
ETHERNET, IPV4, UDP, GRE = 14, 20, 8, 8
# On the wire, over IPv4 in UDP.
FRAME = ETHERNET + IPV4 + UDP + GRE + LENGTH
CHALLENGE_FRAME = ETHERNET + IPV4 + UDP + GRE + CHALLENGE_LENGTH


def made_up(salt=None, counter=None):
    """Well-formed, with a random tag; the salt and the counter are random unless given."""
    salt = random.getrandbits(64) | 1 if salt is None else salt
    counter = random.getrandbits(40) | 1 if counter is None else counter
    header = HEADER.pack(0x11, 0, LENGTH, 1, 3 << 6, 3, 0, salt, counter)
    return header + random.randbytes(LENGTH - HEADER.size)


def salt_and_counter(message):
    return struct.unpack_from("!QQ", message, 8)


class Seen:
    """A tunnel packet of somebody else, as it was seen on the way: who sends what to whom."""

    def __init__(self, packet):
        """packet: IPv4, of GRE-in-UDP."""
        self.packet = packet
        self.source, self.destination = packet[12:16], packet[16:20]
        self.source_port, self.destination_port = struct.unpack_from("!HH", packet, IPV4)
        self.protocol, self.key = struct.unpack_from("!HI", packet, IPV4 + UDP + 2)
        self.payload = packet[IPV4 + UDP + GRE:]

    def like_it(self, payload, **changes):
        """An IP packet with the same ends and key, and another payload."""
        fields = {"source": self.source, "source_port": self.source_port,
                  "protocol": self.protocol} | changes
        return f.in_tunnel(fields["source"], self.destination, self.key, fields["protocol"],
                           payload, source_port=fields["source_port"],
                           destination_port=self.destination_port)


def known_salt(seen, count):
    """As from somebody on the path: all that a worker can look at is as it will be."""
    salt, counter = salt_and_counter(seen.payload)
    return [seen.like_it(made_up(salt, counter + 1000 + random.getrandbits(20)))
            for _ in range(count)]


def bit_flips(message):
    """The message with each of its bits changed, one at a time."""
    for bit in range(8 * len(message)):
        changed = bytearray(message)
        changed[bit // 8] ^= 0x80 >> bit % 8
        yield bytes(changed)


def captured(lab, line="a", site=1):
    """(from the UR, from the DR): IP packets with keepalives that pass on a line of IPv4."""
    from lablib import topology as t
    from lablib.cases import expect
    from lablib.packets import Capture
    from lablib.shell import wait_until

    with Capture(lab, f"isp{line}", f"ur{site}", f"udp port {f.TUNNEL_PORT}") as capture:
        before = lab.counters()["keepalive.received"]
        wait_until(lambda: lab.counters()["keepalive.received"] > before + 12 * len(lab.sites),
                   "keepalives")
        frames = [bytes(x)[ETHERNET:] for x in capture.packets()]
    seen = [(x, Seen(x)) for x in frames]
    # Of type 1: the others are for the path MTU.
    found = [x for x, s in seen if s.protocol == f.KEEPALIVE and s.payload[0] & 15 == 1]
    dr = f.packed(t.DR_IX4)
    up, down = [x for x in found if x[16:20] == dr], [x for x in found if x[12:16] == dr]
    expect(up and down, f"captured {len(up)} up, {len(down)} down")
    return up, down
