"""From an inner packet to its bucket, TUNNEL.md §3, and from buckets to lines, §4.

Inner packets here are whole, without options and extension headers.
"""

import struct

K0, K1, K2, K3 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93
MASK = (1 << 64) - 1
TCP, UDP = 6, 17


def end4(address, port):
    return int.from_bytes(address, "big") << 16 | port


def end6(address, port):
    high, low = struct.unpack("!QQ", address)
    e = (high ^ K3) * K0 & MASK
    e ^= e >> 32
    e = (e + low) * K1 & MASK
    e ^= e >> 29
    return (e + port) & MASK


def flow_of(packet):
    """(source, destination, source port, destination port, protocol)."""
    if packet[0] >> 4 == 4:
        protocol, upper, ends = packet[9], packet[20:], (packet[12:16], packet[16:20])
    else:
        protocol, upper, ends = packet[6], packet[40:], (packet[8:24], packet[24:40])
    ports = struct.unpack("!HH", upper[:4]) if protocol in (TCP, UDP) else (0, 0)
    return (*ends, *ports, protocol)


def flow_hash(flow, seed):
    source, destination, source_port, destination_port, protocol = flow
    end = end4 if len(source) == 4 else end6
    low, high = sorted((end(source, source_port), end(destination, destination_port)))
    h = (seed << 8 | protocol) * K0 & MASK
    h = (h ^ low) * K1 & MASK
    h ^= h >> 32
    h = (h ^ high) * K2 & MASK
    h ^= h >> 29
    return (h * K3 & MASK) >> 32


def default_seed(name):
    h = 2166136261
    for byte in name.encode():
        h = (h ^ byte) * 16777619 & 0xFFFFFFFF
    return h


class Tier:
    """`weights`: {line: weight} in the tier's order."""

    def __init__(self, weights):
        self.weights = weights
        self.owners = {}

    def owner(self, lines):
        """owner(S, .) of a set of lines (a tuple in order): {bucket: line}."""
        if lines in self.owners:
            return self.owners[lines]
        reach = [b for b in range(256) if self.reaches(b, lines)]
        n = {i: sum(self.walk(b, lines, lines) == i for b in range(256) if b not in set(reach))
             for i in lines}
        taken = {}
        for bucket in reach:
            best = lines[0]
            for i in lines[1:]:
                if self.weights[i] * (2 * n[best] + 1) > self.weights[best] * (2 * n[i] + 1):
                    best = i
            taken[bucket] = best
            n[best] += 1
        self.owners[lines] = taken
        return taken

    def reaches(self, bucket, lines):
        """Whether walk(bucket, lines), which starts with all lines, comes to `lines`."""
        return self.walk(bucket, lines, lines) is None

    def walk(self, bucket, eligible, stop=None):
        """The bucket's line; None when the walk reaches `stop`."""
        s = tuple(self.weights)
        while s != stop:
            line = self.owner(s)[bucket]
            if line in eligible:
                return line
            s = tuple(i for i in s if i != line)
        return None
