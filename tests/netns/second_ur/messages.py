"""Messages of the tunnel protocol, TUNNEL.md §6, and their tags, §7."""

import hashlib
import hmac
import ipaddress
import struct
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts"))

from keepalive_vectors import siphash128

GRE_FLAGS, GRE_MESSAGE, GRE_IPV4, GRE_IPV6 = 0x2000, 0x88B5, 0x0800, 0x86DD
KEEPALIVE, CHALLENGE, ANSWER, PROBE, PROBE_ACK = range(1, 6)
POLL, FINAL, CLASSES, OBSERVED = 1, 2, 4, 8
NAT_KNOWN, NAT, DATA_LOST, PLANNED, CHOICE, SUSPECT, DATA_MISSING = 1, 2, 4, 8, 16, 32, 128
NOTHING_TO_ECHO = 0xFFFFFFFF
HEADER = struct.Struct("!BBHBBBBQQ")
TAG = 16
# Of a keepalive, after the header.
FIELDS = ("desired_tx", "required_rx", "tx_time", "echo_time", "echo_hold", "received", "highest",
          "data_sent", "data_received", "lines_up", "lines_down", "eligible", "epoch",
          "policy_generation", "path_mtu")
BODY = struct.Struct("!9I6H")


class Malformed(Exception):
    """The message cannot be one; the text says why."""


@dataclass
class Message:
    """`fields` of a keepalive by name; times in microseconds."""

    kind: int
    key_number: int
    salt: int
    counter: int
    state: int
    diagnostic: int
    multiplier: int = 3
    flags: int = 0
    notes: int = 0
    token: int = 0
    answer: int = 0
    size: int = 0  # of a probe
    fields: dict = field(default_factory=dict)
    other_classes: list = None
    observed: tuple = None  # (address, port)
    text: bytes = b""
    tag: bytes = b""


def gre(protocol, key):
    return struct.pack("!HHI", GRE_FLAGS, protocol, key)


def mac_key(tunnel_key, sender, key_number, gre_key):
    """sender: 0 DR, 1 UR."""
    text = struct.pack("!15sBBI", b"DR keepalive v1", sender, key_number, gre_key)
    return hashlib.blake2b(text, digest_size=16, key=tunnel_key).digest()


def encode(m, key):
    body = b""
    if m.kind == KEEPALIVE:
        body = BODY.pack(*(m.fields[name] for name in FIELDS))
        if m.flags & CLASSES:
            body += struct.pack("!7H", *m.other_classes)
        if m.flags & OBSERVED:
            address = ipaddress.ip_address(m.observed[0])
            body += struct.pack("!HH16s", address.version, m.observed[1], address.packed)
    elif m.kind in (PROBE, PROBE_ACK):
        padding = m.size - HEADER.size - 16 - TAG if m.kind == PROBE else 0
        body = struct.pack("!QH6x", m.token, m.size) + bytes(padding)
    else:
        body = struct.pack("!QQ", m.token, m.answer)
    text = HEADER.pack(1 << 4 | m.kind, m.flags, HEADER.size + len(body) + TAG, m.key_number,
                       m.state << 6 | m.diagnostic, m.multiplier, m.notes, m.salt,
                       m.counter) + body
    return text + siphash128(key, text)


def genuine(m, key):
    return hmac.compare_digest(siphash128(key, m.text), m.tag)


def check(holds, what):
    if not holds:
        raise Malformed(what)


def decode(data):
    """The message that `data` is, its tag not yet looked at."""
    check(len(data) >= HEADER.size + TAG, "too short")
    kind, flags, length, number, state, multiplier, notes, salt, counter = HEADER.unpack_from(data)
    check(kind >> 4 == 1, "version")
    kind &= 15
    check(length == len(data), "length")
    check(salt and counter and multiplier, "salt, counter or multiplier is 0")
    check(not state & 0x20, "reserved bit")
    m = Message(kind, number, salt, counter, state >> 6, state & 31, multiplier, flags, notes,
                text=data[:-TAG], tag=data[-TAG:])
    body = m.text[HEADER.size:]
    if kind == KEEPALIVE:
        decode_keepalive(m, body)
    elif kind in (CHALLENGE, ANSWER):
        check(flags == 0 and len(body) == 16, "flags or length")
        m.token, m.answer = struct.unpack("!QQ", body)
        check(m.token and not m.answer if kind == CHALLENGE else m.answer, "token or answer")
    elif kind in (PROBE, PROBE_ACK):
        check(flags == 0 and len(body) >= 16, "flags or length")
        m.token, m.size, zero = struct.unpack_from("!QH6s", body)
        check(m.token and not any(zero), "token or reserved bytes")
        check(m.size == length if kind == PROBE else len(body) == 16, "size")
    else:
        raise Malformed("type")
    return m


def decode_keepalive(m, body):
    check(not m.flags & ~15, "flags")
    size = BODY.size + (14 if m.flags & CLASSES else 0) + (20 if m.flags & OBSERVED else 0)
    check(len(body) == size, "length")
    m.fields = dict(zip(FIELDS, BODY.unpack_from(body)))
    if m.flags & CLASSES:
        m.other_classes = list(struct.unpack_from("!7H", body, BODY.size))
    if m.flags & OBSERVED:
        family, port, address = struct.unpack("!HH16s", body[-20:])
        check(family in (4, 6), "family")
        check(family == 6 or not any(address[4:]), "reserved bytes")
        m.observed = (str(ipaddress.ip_address(address[:4] if family == 4 else address)), port)
