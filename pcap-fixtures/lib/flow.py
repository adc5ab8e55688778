"""Flow hash (proto/TUNNEL.md §3) and bucket map (§4), written a second time, in Python."""

import functools
import struct
from fractions import Fraction

K0, K1, K2, K3 = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93)
M64 = (1 << 64) - 1
BUCKETS = 256
ICMP, TCP, UDP, ICMP6, NONE = 1, 6, 17, 58, 59
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS = 0, 43, 44, 60
MAX_EXTENSIONS = 8


def default_seed(name: str) -> int:
    """FNV-1a, 32 bits, of the subscriber's name."""
    h = 2166136261
    for byte in name.encode():
        h = ((h ^ byte) * 16777619) & 0xFFFFFFFF
    return h


def _end4(address: bytes, port: int) -> int:
    return int.from_bytes(address, "big") << 16 | port


def _end6(address: bytes, port: int) -> int:
    high, low = struct.unpack(">QQ", address)
    e = ((high ^ K3) * K0) & M64
    e ^= e >> 32
    e = ((e + low) * K1) & M64
    e ^= e >> 29
    return (e + port) & M64


def mix(a: int, b: int, protocol: int, seed: int) -> int:
    """The hash of two ends, in any order."""
    low, high = min(a, b), max(a, b)
    h = ((seed << 8 | protocol) * K0) & M64
    h = ((h ^ low) * K1) & M64
    h ^= h >> 32
    h = ((h ^ high) * K2) & M64
    h ^= h >> 29
    return ((h * K3) & M64) >> 32


def upper4(ip: bytes):
    """(offset, protocol, is a fragment) of the upper layer."""
    return (ip[0] & 15) * 4, ip[9], struct.unpack_from(">H", ip, 6)[0] & 0x3FFF != 0


def upper6(ip: bytes):
    """As upper4, behind the extension headers; a chain that runs out, or is too long, ends as "no
    next header"."""
    protocol, offset, fragment, seen = ip[6], 40, False, 0
    while protocol in (HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS, FRAGMENT):
        seen += 1
        if offset + 8 > len(ip) or seen > MAX_EXTENSIONS:
            return offset, NONE, fragment
        size = 8 if protocol == FRAGMENT else (ip[offset + 1] + 1) * 8
        if offset + size > len(ip):
            return offset, NONE, fragment
        was, protocol = protocol, ip[offset]
        if was == FRAGMENT:
            return offset + 8, protocol, True
        offset += size
    return offset, protocol, fragment


def _is_error(version: int, protocol: int, kind: int) -> bool:
    if version == 4:
        return protocol == ICMP and kind in (3, 4, 5, 11, 12)
    return protocol == ICMP6 and kind < 128


def flow_hash(ip: bytes, seed: int, quoted: bool = False) -> int:
    """The hash of an IP packet. An ICMP error has the hash of the packet that it quotes."""
    version = ip[0] >> 4
    offset, protocol, fragment = upper4(ip) if version == 4 else upper6(ip)
    header = 20 if version == 4 else 40
    if not quoted and not fragment and len(ip) >= offset + 8 + header and \
            _is_error(version, protocol, ip[offset]):
        inside = ip[offset + 8:]
        if inside[0] >> 4 == version and (version == 6 or inside[0] & 15 >= 5):
            return flow_hash(inside, seed, quoted=True)
    ports = (0, 0)
    if protocol in (TCP, UDP) and not fragment and offset + 4 <= len(ip):
        ports = struct.unpack_from(">HH", ip, offset)
    if version == 4:
        ends = _end4(ip[12:16], ports[0]), _end4(ip[16:20], ports[1])
    else:
        ends = _end6(ip[8:24], ports[0]), _end6(ip[24:40], ports[1])
    return mix(*ends, protocol, seed)


def bucket(hashed: int) -> int:
    return hashed >> 24


def source_port(hashed: int) -> int:
    """Entropy port, RFC 8086 §3.2.1."""
    return 49152 + (hashed & 0x3FFF)


def label(hashed: int) -> int:
    """IPv6 flow label, RFC 6438."""
    return hashed & 0xFFFFF


NO_LINE = None


def _apportion(weights, eligible):
    """Owner of each bucket within one tier, by position (proto/TUNNEL.md §4).

    With all lines eligible: bucket after bucket to the line with the greatest weight / (2n + 1),
    n: buckets it has so far; the earlier line when equal (Webster). With some gone: a bucket of a
    line that stays is left alone; the rest go, in order, by the same rule.
    """
    everybody = frozenset(range(len(weights)))
    owners, has, orphans = [NO_LINE] * BUCKETS, dict.fromkeys(eligible, 0), []
    for number in range(BUCKETS):
        lines = everybody
        while lines != eligible:
            owner = _apportion_memo(weights, lines)[number]
            if owner in eligible:
                owners[number] = owner
                has[owner] += 1
                break
            lines = lines - {owner}
        else:
            orphans.append(number)
    for number in orphans:
        owners[number] = min(eligible, key=lambda i: ((2 * has[i] + 1) / weights[i], i))
        has[owners[number]] += 1
    return owners


@functools.lru_cache(maxsize=None)
def _apportion_memo(weights, eligible):
    return _apportion(weights, eligible)


def bucket_map(tiers, usable):
    """Line of each bucket: of the first tier that has a usable line. tiers: [[(line, weight)]]."""
    for tier in tiers:
        eligible = frozenset(n for n, (line, _) in enumerate(tier) if line in usable)
        if eligible:
            weights = tuple(Fraction(weight) for _, weight in tier)
            return [tier[owner][0] for owner in _apportion_memo(weights, eligible)]
    return [NO_LINE] * BUCKETS
