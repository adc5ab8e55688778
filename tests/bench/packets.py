"""Frames for the benchmarks, packed by hand: a pcap of 65536 distinct packets in a second."""

import ipaddress
import random
import struct

PORT_IN_MAC = bytes.fromhex("020000000001")
PEER_MAC = bytes.fromhex("0200000000fe")
DR_LOCAL4 = ipaddress.ip_address("192.0.2.1").packed
DR_LOCAL6 = ipaddress.ip_address("2001:db8:ff::1").packed
IMIX = [60] * 7 + [590] * 4 + [1514]


def checksum(header: bytes) -> int:
    total = sum(struct.unpack(f"!{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(source: bytes, destination: bytes, protocol: int, payload: bytes) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0x4000, 64, protocol, 0)
    head += source + destination
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ipv6(source: bytes, destination: bytes, protocol: int, payload: bytes) -> bytes:
    return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + source + destination + payload


def udp(source: int, destination: int, payload: bytes) -> bytes:
    return struct.pack("!HHHH", source, destination, 8 + len(payload), 0) + payload


def frame(packet: bytes) -> bytes:
    kind = 0x0800 if packet[0] >> 4 == 4 else 0x86DD
    return PORT_IN_MAC + PEER_MAC + struct.pack("!H", kind) + packet


class Site:
    """Subscriber number n: its addresses and its two tunnels."""

    def __init__(self, n: int):
        self.n = n
        self.v4 = (0x64800000 + n * 8).to_bytes(4, "big")  # a /29 each in 100.128.0.0/9
        self.v6 = (0x20010DB8_5000 << 80 | (n << 72)).to_bytes(16, "big")  # a /56 each
        # 203.0.0.0/8 and 2001:db8:b::/48 stand for the lines' addresses.
        self.remote4 = [(0xCB000000 + 2 * n + k).to_bytes(4, "big") for k in (0, 1)]
        self.remote6 = [(0x20010DB8_000B << 80 | (2 * n + k)).to_bytes(16, "big") for k in (0, 1)]

    def tunnel_id(self, line: int) -> int:
        return 1 << 24 | (1 + 2 * self.n + line)

    def host(self, inner: int) -> bytes:
        base = self.v4 if inner == 4 else self.v6
        return base[:-1] + bytes([base[-1] | 1])


def inner_packet(source: bytes, destination: bytes, size: int) -> bytes:
    """size: of the frame without FCS that the plain packet would be."""
    overhead = 14 + (20 if len(source) == 4 else 40) + 8
    payload = bytes(max(0, size - overhead))
    datagram = udp(random.randrange(1024, 65536), random.randrange(1024, 65536), payload)
    build = ipv4 if len(source) == 4 else ipv6
    return build(source, destination, 17, datagram)


def downlink(site: Site, inner: int, size: int) -> bytes:
    outside = bytes([8, 8, 8, 8]) if inner == 4 else ipaddress.ip_address("2400:cb00::1").packed
    return frame(inner_packet(outside, site.host(inner), size))


def uplink(site: Site, inner: int, outer: int, encapsulation: str, size: int) -> bytes:
    outside = bytes([8, 8, 8, 8]) if inner == 4 else ipaddress.ip_address("2400:cb00::1").packed
    line = random.randrange(2)
    packet = inner_packet(site.host(inner), outside, size)
    kind = 0x0800 if inner == 4 else 0x86DD
    body = struct.pack("!HHI", 0x2000, kind, site.tunnel_id(line)) + packet
    protocol = 47
    if encapsulation == "gre-udp":
        body = udp(49152 + random.randrange(16384), 4754, body)
        protocol = 17
    if outer == 4:
        return frame(ipv4(site.remote4[line], DR_LOCAL4, protocol, body))
    return frame(ipv6(site.remote6[line], DR_LOCAL6, protocol, body))


def write_pcap(path: str, frames: list[bytes]) -> None:
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for data in frames:
            out.write(struct.pack("<IIII", 0, 0, len(data), len(data)) + data)


def make(path: str, direction: str, encapsulation: str, outer: int, inner: int, subscribers: int,
         packet: str, count: int) -> None:
    random.seed(1)
    frames = []
    for i in range(count):
        site = Site(random.randrange(subscribers))
        size = random.choice(IMIX) if packet == "imix" else int(packet) - 4
        way = direction if direction != "mixed" else ("downlink", "uplink")[i % 2]
        if way == "downlink":
            frames.append(downlink(site, inner, size))
        else:
            frames.append(uplink(site, inner, outer, encapsulation, size))
    write_pcap(path, frames)
