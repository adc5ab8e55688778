"""Keepalives that nobody should believe, made out of captured ones: an attacker's pcaps.

What an attacker has to know rises from kind to kind: a tunnel's id; also its endpoints; also the
salt, which is seen only on the path; whole genuine messages.
"""

import pathlib
import random
import struct

import packets

ETHERNET, GRE, TAG = 14, 8, 16
SALT_AT, COUNTER_AT = 8, 16  # in the message (proto/TUNNEL.md §6)
FRAME_HEADER = 16  # of a pcap record


def read_pcap(path: str) -> list[bytes]:
    data = pathlib.Path(path).read_bytes()
    at, frames = 24, []
    while at < len(data):
        size, = struct.unpack_from("<I", data, at + 8)
        frames.append(data[at + FRAME_HEADER:at + FRAME_HEADER + size])
        at += FRAME_HEADER + size
    return frames


class Keepalive:
    """The parts of a frame: build() makes a sound one of whatever they have become."""

    def __init__(self, frame: bytes):
        ip = frame[ETHERNET:]
        self.v6 = ip[0] >> 4 == 6
        header, field, size = (40, 8, 16) if self.v6 else (20, 12, 4)
        self.protocol = ip[6] if self.v6 else ip[9]
        self.source = ip[field:field + size]
        self.destination = ip[field + size:field + 2 * size]
        self.ports = struct.unpack_from("!HH", ip, header) if self.protocol == 17 else None
        gre = header + (8 if self.ports else 0)
        self.flags, self.type, self.key = struct.unpack_from("!HHI", ip, gre)
        self.message = ip[gre + GRE:]

    def build(self) -> bytes:
        body = struct.pack("!HHI", self.flags, self.type, self.key) + self.message
        if self.ports:
            body = packets.udp(*self.ports, body)
        ip = packets.ipv6 if self.v6 else packets.ipv4
        return packets.frame(ip(self.source, self.destination, self.protocol, body))


def new_tag(k: Keepalive) -> None:
    k.message = k.message[:-TAG] + random.randbytes(TAG)


def ahead(k: Keepalive) -> None:
    """As from somebody who watches the tunnel: what the worker can see is as it will be."""
    counter, = struct.unpack_from("!Q", k.message, COUNTER_AT)
    counter += random.randrange(1 << 20)
    k.message = k.message[:COUNTER_AT] + struct.pack("!Q", counter) + k.message[COUNTER_AT + 8:]
    new_tag(k)


def other_salt(k: Keepalive) -> None:
    k.message = k.message[:SALT_AT] + random.randbytes(8) + k.message[SALT_AT + 8:]
    new_tag(k)


def other_source(k: Keepalive) -> None:
    k.source = k.source[:-3] + random.randbytes(3)
    if k.ports:
        k.ports = (random.randrange(1024, 65536), k.ports[1])
    other_salt(k)


def stolen(k: Keepalive) -> None:
    """Genuine, from somebody else's address."""
    k.source = k.source[:-3] + random.randbytes(3)


def truncate(k: Keepalive) -> None:
    k.message = k.message[:random.randrange(len(k.message))]


def reflect(k: Keepalive) -> None:
    """k is one of the DR's."""
    k.source, k.destination = k.destination, k.source
    if k.ports:
        k.ports = k.ports[::-1]


def misplaced(k: Keepalive) -> None:
    """Not a forgery: data of the same size that is dropped because of where it comes from."""
    k.type = 0x0800
    k.source = k.source[:-3] + random.randbytes(3)


CHANGES = {"source": other_source, "salt": other_salt, "tag": new_tag, "stolen": stolen,
           "truncated": truncate, "replayed": lambda k: None}
REFERENCE = "misplaced"
KINDS = [*CHANGES, "reflected", "mixed"]
WATCHER = "ahead"  # no part of the mixture: only who sees each tunnel's packets can do it


OTHERS = {REFERENCE: misplaced, WATCHER: ahead, "reflected": reflect}


def forge(kind: str, sent: list[bytes], received: list[bytes], count: int) -> list[bytes]:
    """sent, received: captured frames of the URs. mixed: all kinds in equal parts."""
    if kind == "mixed":
        each = [forge(k, sent, received, count // (len(KINDS) - 1)) for k in KINDS[:-1]]
        mixed = [frame for frames in each for frame in frames]
        random.shuffle(mixed)
        return mixed
    pool = received if kind == "reflected" else sent
    change = OTHERS.get(kind) or CHANGES[kind]
    frames = []
    for n in range(count):
        keepalive = Keepalive(pool[n % len(pool)])
        change(keepalive)
        frames.append(keepalive.build())
    return frames
