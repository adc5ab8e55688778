"""Frames for the benchmarks, and pcaps of a million distinct ones in seconds.

downlink() and uplink() build a frame layer by layer. make() builds one of each shape and patches
the rest from it: addresses, ports, key and checksum are all that differs.
"""

import ipaddress
import random
import struct

PORT_IN_MAC = bytes.fromhex("020000000001")
PEER_MAC = bytes.fromhex("0200000000fe")
DR_LOCAL4 = ipaddress.ip_address("192.0.2.1").packed
DR_LOCAL6 = ipaddress.ip_address("2001:db8:ff::1").packed
OUTSIDE4 = bytes([8, 8, 8, 8])
OUTSIDE6 = ipaddress.ip_address("2400:cb00::1").packed
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

    @property
    def v4(self) -> bytes:  # a /29 each in 100.128.0.0/9
        return (0x64800000 + self.n * 8).to_bytes(4, "big")

    @property
    def v6(self) -> bytes:  # a /56 each
        return (0x20010DB8_5000 << 80 | (self.n << 72)).to_bytes(16, "big")

    # 203.0.0.0/8 and 2001:db8:b::/48 stand for the lines' addresses.
    @property
    def remote4(self) -> list[bytes]:
        return [(0xCB000000 + 2 * self.n + k).to_bytes(4, "big") for k in (0, 1)]

    @property
    def remote6(self) -> list[bytes]:
        return [(0x20010DB8_000B << 80 | (2 * self.n + k)).to_bytes(16, "big") for k in (0, 1)]

    def tunnel_id(self, line: int) -> int:
        return 1 << 24 | (1 + 2 * self.n + line)

    def host(self, inner: int) -> bytes:
        base = self.v4 if inner == 4 else self.v6
        return base[:-1] + bytes([base[-1] | 1])


def inner_packet(source: bytes, destination: bytes, size: int, ports: int) -> bytes:
    """size: of the frame without FCS that the plain packet would be; ports: source and destination."""
    overhead = 14 + (20 if len(source) == 4 else 40) + 8
    payload = bytes(max(0, size - overhead))
    datagram = udp(ports >> 16, ports & 0xFFFF, payload)
    build = ipv4 if len(source) == 4 else ipv6
    return build(source, destination, 17, datagram)


def random_ports() -> int:
    return random.getrandbits(32) | 1 << 26 | 1 << 10  # both are at least 1024


def downlink(site: Site, inner: int, size: int, ports: int | None = None) -> bytes:
    outside = OUTSIDE4 if inner == 4 else OUTSIDE6
    ports = random_ports() if ports is None else ports
    return frame(inner_packet(outside, site.host(inner), size, ports))


def uplink(site: Site, inner: int, outer: int, encapsulation: str, size: int,
           ports: int | None = None) -> bytes:
    """The line and, with UDP, the outer source port follow from the inner ports."""
    outside = OUTSIDE4 if inner == 4 else OUTSIDE6
    ports = random_ports() if ports is None else ports
    line = ports & 1
    packet = inner_packet(site.host(inner), outside, size, ports)
    kind = 0x0800 if inner == 4 else 0x86DD
    body = struct.pack("!HHI", 0x2000, kind, site.tunnel_id(line)) + packet
    protocol = 47
    if encapsulation == "gre-udp":
        body = udp(0xC000 | ports >> 16, 4754, body)
        protocol = 17
    if outer == 4:
        return frame(ipv4(site.remote4[line], DR_LOCAL4, protocol, body))
    return frame(ipv6(site.remote6[line], DR_LOCAL6, protocol, body))


class Address:
    """Where a frame of one shape has an address of a site, and how to write another there."""

    def __init__(self, template: bytearray, header: int, inner_field: int):
        self.version = template[header] >> 4
        self.at = header + (12 if self.version == 4 else 8)
        self.at += (4 if self.version == 4 else 16) * inner_field
        self.checksum = header + 10
        if self.version == 4:
            words = template[header:header + 20]
            words[10:12] = bytes(2)
            field = self.at - header
            words[field:field + 4] = bytes(4)
            self.rest = ~checksum(bytes(words)) & 0xFFFF

    def write(self, out: bytearray, value: bytes) -> None:
        if self.version == 6:
            out[self.at:self.at + 16] = value
            return
        out[self.at:self.at + 4] = value
        number = int.from_bytes(value, "big")
        total = self.rest + (number >> 16) + (number & 0xFFFF)
        out[self.checksum:self.checksum + 2] = (-total % 0xFFFF).to_bytes(2, "big")


class Shape:
    """All frames of one direction and size; make(n, ports) equals downlink() or uplink()."""

    def __init__(self, way: str, inner: int, outer: int, encapsulation: str, size: int):
        self.up = way == "uplink"
        self.inner, self.outer = inner, outer
        first = (uplink(Site(0), inner, outer, encapsulation, size, 0) if self.up else
                 downlink(Site(0), inner, size, 0))
        self.template = bytearray(first)
        at = 14
        self.udp_source = 0
        if self.up:
            self.remote = Address(self.template, at, 0)
            at += 20 if outer == 4 else 40
            if encapsulation == "gre-udp":
                self.udp_source = at
                at += 8
            self.key = at + 4
            at += 8
        self.host = Address(self.template, at, 0 if self.up else 1)
        self.ports = at + (20 if inner == 4 else 40)

    def make(self, n: int, ports: int) -> bytearray:
        out = self.template[:]
        site = Site(n)
        self.host.write(out, site.host(self.inner))
        out[self.ports:self.ports + 4] = ports.to_bytes(4, "big")
        if self.up:
            line = ports & 1
            self.remote.write(out, (site.remote4 if self.outer == 4 else site.remote6)[line])
            out[self.key:self.key + 4] = site.tunnel_id(line).to_bytes(4, "big")
            if self.udp_source:
                source = 0xC000 | ports >> 16
                out[self.udp_source:self.udp_source + 2] = source.to_bytes(2, "big")
        return out


def write_pcap(path: str, frames) -> None:
    with open(path, "wb", buffering=1 << 20) as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for data in frames:
            out.write(struct.pack("<IIII", 0, 0, len(data), len(data)) + data)


def everyone(subscribers: int, count: int) -> list[int]:
    """count subscribers in random order, each as often as any other, give or take one."""
    order = list(range(subscribers)) * (count // subscribers)
    order += random.sample(range(subscribers), count % subscribers)
    random.shuffle(order)
    return order


def make(path: str, direction: str, encapsulation: str, outer: int, inner: int, subscribers: int,
         packet: str, count: int) -> None:
    random.seed(1)
    sizes = IMIX if packet == "imix" else [int(packet) - 4]
    ways = ["downlink", "uplink"] if direction == "mixed" else [direction]
    shapes = [[Shape(way, inner, outer, encapsulation, size).make for size in sizes]
              for way in ways]
    order = everyone(subscribers, count)
    write_pcap(path, (random.choice(shapes[i % len(ways)])(n, random_ports())
                      for i, n in enumerate(order)))
