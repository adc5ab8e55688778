"""Packets of hosts, and the frames that carry them."""

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from .topology import GATEWAY_MAC, UP_MAC


def payload(size: int) -> bytes:
    """A pattern in which a shifted or lost byte shows."""
    return bytes((7 * n + n // 256) & 0xFF for n in range(size))


def ip(src: str, dst: str, **fields):
    """An IP header of either family. tos and ttl are traffic class and hop limit for IPv6."""
    if ":" not in src:
        return IP(src=src, dst=dst, **{"id": 0x1234, **fields})
    names = {"tos": "tc", "ttl": "hlim"}
    return IPv6(src=src, dst=dst, **{names.get(k, k): v for k, v in fields.items()})


def udp(src, dst, sport=40000, dport=45053, size=32, **fields):
    return ip(src, dst, **fields) / UDP(sport=sport, dport=dport) / Raw(payload(size))


def tcp(src, dst, sport=40001, dport=443, size=100, flags="A", options=(), **fields):
    return (ip(src, dst, **fields) /
            TCP(sport=sport, dport=dport, flags=flags, seq=1000, ack=2000 if "A" in flags else 0,
                options=list(options)) / Raw(payload(size)))


def echo(src, dst, number=1, size=56, **fields):
    """An echo request of the right family."""
    icmp = ICMPv6EchoRequest(id=77, seq=number) if ":" in src else ICMP(id=77, seq=number)
    return ip(src, dst, **fields) / icmp / Raw(payload(size))


def sized(src, dst, total, sport=40000, dport=5001, **fields):
    """A UDP packet of `total` bytes of IP."""
    return udp(src, dst, sport, dport, total - (28 if ":" not in src else 48), **fields)


def ether(packet, src=GATEWAY_MAC, dst=UP_MAC) -> bytes:
    """The frame as a neighbour sends it; `packet`: scapy or bytes."""
    data = bytes(packet)
    kind = 0x86DD if data[0] >> 4 == 6 else 0x0800
    return bytes(Ether(src=src, dst=dst, type=kind)) + data


def padded(frame: bytes) -> bytes:
    """As a real network card would send it: at least 60 bytes, the padding not zero."""
    return frame + b"\x5a" * max(0, 60 - len(frame))


def sent(packet, src=UP_MAC, dst=GATEWAY_MAC) -> bytes:
    """The frame as the DR sends it."""
    return ether(packet, src, dst)


def both(four, six):
    """[(4, four), (6, six)]: for cases that hold for either family."""
    return [(4, four), (6, six)]
