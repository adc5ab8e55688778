"""Frames by hand: scapy takes a millisecond for one, and a flood has thousands of them."""

import ipaddress
import struct

TUNNEL_PORT = 4754
IPV4, IPV6, KEEPALIVE = 0x0800, 0x86DD, 0x88B5
ICMP, UDP, GRE, ICMPV6 = 1, 17, 47, 58


def packed(address):
    return ipaddress.ip_address(address).packed


def checksum(data):
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def ethernet(source, destination, payload):
    """MAC addresses as text; the payload is an IP packet."""
    macs = bytes.fromhex((destination + source).replace(":", ""))
    return macs + struct.pack("!H", IPV6 if payload[0] >> 4 == 6 else IPV4) + payload


def ip(source, destination, protocol, payload, ttl=64):
    """Of the addresses' family; text or bytes."""
    source, destination = (a if isinstance(a, bytes) else packed(a) for a in (source, destination))
    if len(source) == 16:
        header = struct.pack("!IHBB", 6 << 28, len(payload), protocol, ttl)
        return header + source + destination + payload
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0x4000, ttl, protocol, 0,
                         source, destination)
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def udp(source_port, destination_port, payload):
    """Without a checksum, as GRE-in-UDP has it."""
    return struct.pack("!HHHH", source_port, destination_port, 8 + len(payload), 0) + payload


def gre(key, protocol, payload):
    return struct.pack("!HHI", 0x2000, protocol, key) + payload


def in_tunnel(source, destination, key, protocol, payload, *, source_port=TUNNEL_PORT,
              destination_port=TUNNEL_PORT):
    """An outer packet of GRE-in-UDP."""
    return ip(source, destination, UDP,
              udp(source_port, destination_port, gre(key, protocol, payload)))


def icmp(source, destination, kind, code, rest, quoted):
    """An ICMP or ICMPv6 error about the packet `quoted`; `rest`: the 4 bytes after the checksum."""
    body = struct.pack("!BBH", kind, code, 0) + rest + quoted
    six = ":" in source
    summed = body
    if six:
        summed = packed(source) + packed(destination) + struct.pack("!II", len(body), ICMPV6) + body
    body = body[:2] + struct.pack("!H", checksum(summed)) + body[4:]
    return ip(source, destination, ICMPV6 if six else ICMP, body)
