#!/usr/bin/env python3
"""Test vectors of proto/TUNNEL.md, computed from its text and from nothing else.

usage: scripts/tunnel_vectors.py [--check]

Without an option it writes proto/tunnel_vectors.json and the table in proto/TUNNEL.md; with
--check it changes nothing and fails (exit 1) when either is not what it would write.
"""
import ipaddress
import json
import pathlib
import struct
import sys

PROTO = pathlib.Path(__file__).resolve().parent.parent / "proto"
BEGIN, END = "<!-- vectors -->\n", "<!-- end of vectors -->\n"

# --- §3: the flow hash ---------------------------------------------------------------------------

MASK = (1 << 64) - 1
K0, K1, K2, K3 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93
TCP, UDP, ICMP, ICMP6, NO_NEXT = 6, 17, 1, 58, 59
ICMP_ERRORS = (3, 4, 5, 11, 12)


def end4(address, port):
    return int.from_bytes(address, "big") << 16 | port


def end6(address, port):
    hi, lo = struct.unpack("!QQ", address)
    e = (hi ^ K3) * K0 & MASK
    e ^= e >> 32
    e = (e + lo) * K1 & MASK
    e ^= e >> 29
    return (e + port) & MASK


def hash_ends(a, b, protocol, seed):
    low, high = sorted((a, b))
    h = (seed << 8 | protocol) * K0 & MASK
    h = (h ^ low) * K1 & MASK
    h ^= h >> 32
    h = (h ^ high) * K2 & MASK
    h ^= h >> 29
    return (h * K3 & MASK) >> 32


def upper_layer(packet):
    """Protocol, offset of its header, and whether the packet is a fragment (rules 1 and 2)."""
    if packet[0] >> 4 == 4:
        fragment = int.from_bytes(packet[6:8], "big") & 0x3FFF != 0
        return packet[9], (packet[0] & 15) * 4, fragment
    protocol, at, fragment, skipped = packet[6], 40, False, 0
    while protocol in (0, 43, 60, 44):
        size = 8 if protocol == 44 or len(packet) < at + 2 else (packet[at + 1] + 1) * 8
        if skipped == 8 or at + size > len(packet):
            return NO_NEXT, at, fragment
        fragment = protocol == 44
        protocol, at, skipped = packet[at], at + size, skipped + 1
        if fragment:
            break
    return protocol, at, fragment


def carried(packet, protocol, at):
    """The packet inside an ICMP error (rule 4), or None."""
    v4 = packet[0] >> 4 == 4
    inner = packet[at + 8:]
    if protocol != (ICMP if v4 else ICMP6) or len(inner) < (20 if v4 else 40):
        return None
    if v4:
        sound = packet[at] in ICMP_ERRORS and inner[0] >> 4 == 4 and inner[0] & 15 >= 5
    else:
        sound = packet[at] < 128 and inner[0] >> 4 == 6
    return inner if sound else None


def flow_of(packet, inside_error=False):
    protocol, at, fragment = upper_layer(packet)
    if not fragment and not inside_error:
        inner = carried(packet, protocol, at)
        if inner is not None:
            return flow_of(inner, True)
    source_port = destination_port = 0
    if protocol in (TCP, UDP) and not fragment and at + 4 <= len(packet):
        source_port, destination_port = struct.unpack_from("!HH", packet, at)
    first, size = (12, 4) if packet[0] >> 4 == 4 else (8, 16)
    source, destination = packet[first:first + size], packet[first + size:first + 2 * size]
    return source, source_port, destination, destination_port, protocol


def hash_flow(flow, seed):
    source, source_port, destination, destination_port, protocol = flow
    end = end4 if len(source) == 4 else end6
    return hash_ends(end(source, source_port), end(destination, destination_port), protocol, seed)


def default_seed(name):
    h = 2166136261
    for byte in name.encode():
        h = (h ^ byte) * 16777619 & 0xFFFFFFFF
    return h


# --- §4: the bucket map --------------------------------------------------------------------------


class Tier:
    """weights: by position of the line in the tier."""

    def __init__(self, weights):
        self.weights = weights
        self.all = frozenset(range(len(weights)))
        self.owners = {}

    def owner(self, lines):
        """Owners of the buckets whose walk reaches this set of lines."""
        if lines not in self.owners:
            awarded = {i: 0 for i in lines}
            reaching = []
            for bucket in range(256):
                end = self.walk(bucket, lines, stop=lines)
                if end is None:
                    reaching.append(bucket)
                else:
                    awarded[end] += 1
            result = {}
            for bucket in reaching:
                best = None
                for i in sorted(lines):
                    if best is None or (self.weights[i] * (2 * awarded[best] + 1) >
                                        self.weights[best] * (2 * awarded[i] + 1)):
                        best = i
                result[bucket] = best
                awarded[best] += 1
            self.owners[lines] = result
        return self.owners[lines]

    def walk(self, bucket, eligible, stop=None):
        lines = self.all
        while lines != stop:
            line = self.owner(lines)[bucket]
            if line in eligible:
                return line
            lines = lines - {line}
        return None

    def map(self, eligible):
        return [self.walk(bucket, frozenset(eligible)) for bucket in range(256)]


# --- packets -------------------------------------------------------------------------------------


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip4(source, destination, protocol, payload, fragment=0, options=b""):
    header = struct.pack("!BBHHHBBH4s4s", 0x45 + len(options) // 4, 0,
                         20 + len(options) + len(payload), 0x1234, fragment, 64, protocol, 0,
                         ipaddress.IPv4Address(source).packed,
                         ipaddress.IPv4Address(destination).packed) + options
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def ip6(source, destination, protocol, payload):
    return struct.pack("!IHBB16s16s", 6 << 28, len(payload), protocol, 64,
                       ipaddress.IPv6Address(source).packed,
                       ipaddress.IPv6Address(destination).packed) + payload


def pseudo(source, destination, protocol, length):
    a, b = ipaddress.ip_address(source).packed, ipaddress.ip_address(destination).packed
    return a + b + struct.pack("!II", length, protocol)


def fill(header, at, source, destination, protocol):
    """Puts the upper-layer checksum where it belongs."""
    total = checksum(pseudo(source, destination, protocol, len(header)) + header)
    return header[:at] + struct.pack("!H", total) + header[at + 2:]


def tcp(source, source_port, destination, destination_port):
    return fill(struct.pack("!HHIIBBHHH", source_port, destination_port, 1, 0, 0x50, 2, 65535, 0, 0),
                16, source, destination, TCP)


def udp(source, source_port, destination, destination_port, data=b"dr-test!"):
    return fill(struct.pack("!HHHH", source_port, destination_port, 8 + len(data), 0) + data,
                6, source, destination, UDP)


def icmp(kind, code, rest, data):
    message = struct.pack("!BBHI", kind, code, 0, rest) + data
    return message[:2] + struct.pack("!H", checksum(message)) + message[4:]


def icmp6(source, destination, kind, code, rest, data):
    return fill(struct.pack("!BBHI", kind, code, 0, rest) + data, 2, source, destination, ICMP6)


def packets():
    a, b, router = "203.0.113.9", "198.51.100.7", "192.0.2.33"
    x, y, router6 = "2001:db8:5000:100::9", "2001:db8:ffff::7", "2001:db8:0:1::1"
    tcp4 = ip4(b, a, TCP, tcp(b, 443, a, 50001))
    tcp6 = ip6(y, x, TCP, tcp(y, 443, x, 50001))
    yield "IPv4 TCP, to the site", tcp4
    yield "IPv4 TCP, the same flow, from the site", ip4(a, b, TCP, tcp(a, 50001, b, 443))
    yield "IPv4 TCP, the port beside it", ip4(b, a, TCP, tcp(b, 443, a, 50002))
    yield "IPv4 UDP, to the site", ip4(b, a, UDP, udp(b, 53, a, 40000))
    yield "IPv4 UDP, the same flow, from the site", ip4(a, b, UDP, udp(a, 40000, b, 53))
    yield "IPv4 UDP, header options", ip4(b, a, UDP, udp(b, 53, a, 40000), options=b"\x01\x01\x01\x00")
    long_udp = udp(b, 53, a, 40000, b"0123456789abcdef")
    yield "IPv4 UDP, first fragment", ip4(b, a, UDP, long_udp[:16], fragment=0x2000)
    yield "IPv4 UDP, last fragment", ip4(b, a, UDP, long_udp[16:], fragment=0x0002)
    yield "IPv4 ICMP echo request, to the site", ip4(b, a, ICMP, icmp(8, 0, 0x00070001, b"ping"))
    yield "IPv4 ICMP echo reply, from the site", ip4(a, b, ICMP, icmp(0, 0, 0x00070001, b"ping"))
    yield ("IPv4 ICMP fragmentation needed, about the first flow",
           ip4(router, b, ICMP, icmp(3, 4, 1400, tcp4[:28])))
    yield ("IPv4 ICMP time exceeded, about the UDP flow from the site",
           ip4(router, a, ICMP, icmp(11, 0, 0, ip4(a, b, UDP, udp(a, 40000, b, 53))[:28])))
    yield ("IPv4 ICMP unreachable, about a fragment",
           ip4(router, b, ICMP, icmp(3, 1, 0, ip4(b, a, UDP, long_udp[:16], fragment=0x2000)[:28])))
    yield "IPv4 ICMP unreachable, cut too short", ip4(router, b, ICMP, icmp(3, 1, 0, tcp4[:12]))
    yield "IPv4 GRE (other protocol)", ip4(b, a, 47, b"\0\0\x08\0")
    yield "IPv4 TCP, cut to 2 bytes", ip4(b, a, TCP, tcp(b, 443, a, 50001)[:2])
    yield "IPv6 TCP, to the site", tcp6
    yield "IPv6 TCP, the same flow, from the site", ip6(x, y, TCP, tcp(x, 50001, y, 443))
    yield "IPv6 UDP, to the site", ip6(y, x, UDP, udp(y, 53, x, 40000))
    yield "IPv6 UDP, the same flow, from the site", ip6(x, y, UDP, udp(x, 40000, y, 53))
    yield ("IPv6 UDP behind hop-by-hop and destination options",
           ip6(y, x, 0, bytes([60, 0, 1, 4, 0, 0, 0, 0]) + bytes([UDP, 0, 1, 4, 0, 0, 0, 0]) +
               udp(y, 53, x, 40000)))
    yield ("IPv6 TCP behind a routing header",
           ip6(y, x, 43, bytes([TCP, 0, 253, 0, 0, 0, 0, 0]) + tcp(y, 443, x, 50001)))
    long_udp6 = udp(y, 53, x, 40000, b"0123456789abcdef")
    yield ("IPv6 UDP, first fragment",
           ip6(y, x, 44, struct.pack("!BBHI", UDP, 0, 1, 7) + long_udp6[:16]))
    yield ("IPv6 UDP, last fragment",
           ip6(y, x, 44, struct.pack("!BBHI", UDP, 0, 16, 7) + long_udp6[16:]))
    yield "IPv6 ICMPv6 echo request", ip6(y, x, ICMP6, icmp6(y, x, 128, 0, 0x00070001, b"ping"))
    yield "IPv6 ICMPv6 echo reply", ip6(x, y, ICMP6, icmp6(x, y, 129, 0, 0x00070001, b"ping"))
    yield ("IPv6 ICMPv6 packet too big, about the IPv6 TCP flow",
           ip6(router6, y, ICMP6, icmp6(router6, y, 2, 0, 1400, tcp6)))
    yield ("IPv6 with an extension header that runs past the end",
           ip6(y, x, 60, bytes([UDP, 9, 1, 4, 0, 0, 0, 0])))


def vectors():
    lines = Tier([3, 1]).map({0, 1})
    seeds = (default_seed("site-42"), 0, 0xFFFFFFFF)
    for number, (what, packet) in enumerate(packets()):
        extra = seeds[1:] if number in (0, 16) else ()
        for seed in (seeds[0], *extra):
            flow = flow_of(packet)
            h = hash_flow(flow, seed)
            yield {"what": what, "packet": packet.hex(), "seed": seed,
                   "flow": {"source": str(ipaddress.ip_address(flow[0])), "sourcePort": flow[1],
                            "destination": str(ipaddress.ip_address(flow[2])),
                            "destinationPort": flow[3], "protocol": flow[4]},
                   "hash": h, "bucket": h >> 24, "sourcePort": 49152 + (h & 0x3FFF),
                   "flowLabel": h & 0xFFFFF, "line": lines[h >> 24]}


def maps():
    """Whole bucket maps, as 256 hexadecimal digits: the line's position in its tier."""
    cases = [([3, 1], [0, 1]), ([3, 1], [1]), ([1, 1, 1], [0, 1, 2]), ([1, 1, 1], [0, 2]),
             ([5, 3, 2, 7], [0, 1, 2, 3]), ([5, 3, 2, 7], [0, 2, 3]), ([5, 3, 2, 7], [1, 2]),
             ([255, 1, 17, 90, 4, 33], [1, 2, 4]), ([10, 20, 30, 40, 50, 60], [0, 3, 5])]
    for weights, eligible in cases:
        owners = Tier(weights).map(eligible)
        yield {"weights": weights, "eligible": eligible,
               "map": "".join(f"{line:x}" for line in owners)}


def table(rows):
    yield "| packet | seed | hash | bucket | source port | flow label | line |\n"
    yield "|---|---|---|---|---|---|---|\n"
    for row in rows:
        yield (f"| {row['what']}<br>`{row['packet']}` | {row['seed']:08x} | {row['hash']:08x} | "
               f"{row['bucket']} | {row['sourcePort']} | {row['flowLabel']:05x} | {row['line']} |\n")


def main():
    if sys.argv[1:] not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    rows = list(vectors())
    text_file, json_file = PROTO / "TUNNEL.md", PROTO / "tunnel_vectors.json"
    seed_names = {name: default_seed(name) for name in ("site-42", "", "a")}
    wanted_json = json.dumps({"vectors": rows, "maps": list(maps()), "seeds": seed_names},
                             indent=1) + "\n"
    text = text_file.read_text()
    before, rest = text.split(BEGIN)
    wanted_text = before + BEGIN + "".join(table(rows)) + END + rest.split(END)[1]
    if sys.argv[1:]:
        stale = [f.name for f, wanted in ((text_file, wanted_text), (json_file, wanted_json))
                 if not f.exists() or f.read_text() != wanted]
        for name in stale:
            print(f"proto/{name} is not what its text computes: run scripts/tunnel_vectors.py",
                  file=sys.stderr)
        return 1 if stale else 0
    text_file.write_text(wanted_text)
    json_file.write_text(wanted_json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
