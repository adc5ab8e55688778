"""What must happen to a packet, stated with scapy and the RFCs, not with the product's code."""

import struct

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6, in6_chksum
from scapy.layers.l2 import GRE
from scapy.packet import Raw

from . import flow
from .model import GRE_UDP, PORT

COPIED = 0x80  # RFC 791 §3.1: the option goes into every fragment


def _parsed(data: bytes):
    return IP(data) if data[0] >> 4 == 4 else IPv6(data)


def tos(data: bytes) -> int:
    return data[1] if data[0] >> 4 == 4 else struct.unpack_from(">H", data)[0] >> 4 & 0xFF


def hop(packet) -> bytes:
    """One hop on: TTL or hop limit less one, the IPv4 checksum right again."""
    data = bytearray(bytes(packet))
    if data[0] >> 4 == 6:
        data[7] -= 1
        return bytes(data)
    data[8] -= 1
    return checksummed(data)


def checksummed(data) -> bytes:
    """An IPv4 packet with the right header checksum."""
    data = bytearray(data)
    size = (data[0] & 15) * 4
    data[10:12] = b"\0\0"
    data[10:12] = struct.pack(">H", internet_checksum(bytes(data[:size])))
    return bytes(data)


def internet_checksum(data: bytes) -> int:
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def gre(key: int, inner: bytes, **fields):
    proto = 0x86DD if inner[0] >> 4 == 6 else 0x0800
    return GRE(key_present=1, key=key, **{"proto": proto, **fields}) / Raw(inner)


def outer(src, dst, protocol, **fields):
    """The outer IP header. RFC 2983: DSCP copied; RFC 6040: ECN copied; so tos as it is inside."""
    if ":" in src:
        return IPv6(src=src, dst=dst, nh=protocol, hlim=fields.get("ttl", 64),
                    tc=fields.get("tos", 0), fl=fields.get("fl", 0))
    return IP(src=src, dst=dst, proto=protocol, ttl=fields.get("ttl", 64),
              tos=fields.get("tos", 0), id=fields.get("id", 0), flags=fields.get("flags", "DF"),
              options=fields.get("options", []))


def into_tunnel(tunnel, inner: bytes, hashed: int) -> bytes:
    """The DR's tunnel packet around `inner`, which is complete."""
    head = {"tos": tos(inner), "fl": flow.label(hashed)}
    if tunnel.encapsulation == GRE_UDP:
        entropy = tunnel.remote_port is None
        udp = UDP(sport=flow.source_port(hashed) if entropy else PORT,
                  dport=PORT if entropy else tunnel.remote_port, chksum=0)
        return bytes(outer(tunnel.local, tunnel.remote, 17, **head) / udp / gre(tunnel.id, inner))
    return bytes(outer(tunnel.local, tunnel.remote, 47, **head) / gre(tunnel.id, inner))


def out_of_tunnel(tunnel, inner, sport=None, key=None, protocol=None, udp=None, **fields):
    """The UR's tunnel packet around `inner`, as a scapy packet.

    protocol: GRE protocol type; udp: fields of the UDP header; the rest: of the outer IP header.
    """
    inner = bytes(inner)
    head = {"src": tunnel.remote, "dst": tunnel.local, **fields}
    body = gre(tunnel.id if key is None else key, inner,
               **({} if protocol is None else {"proto": protocol}))
    if tunnel.encapsulation == GRE_UDP:
        sport = sport or tunnel.remote_port or 50123
        body = UDP(**{"sport": sport, "dport": PORT, "chksum": 0, **(udp or {})}) / body
        return outer(head.pop("src"), head.pop("dst"), 17, **head) / body
    return outer(head.pop("src"), head.pop("dst"), 47, **head) / body


def encapsulated(site, packet, tunnel=None, hashed=None) -> bytes:
    """A packet for the site, one hop on, in the tunnel of its flow."""
    data = bytes(packet)
    hashed = flow.flow_hash(data, site.seed) if hashed is None else hashed
    return into_tunnel(tunnel or site.tunnel_of(data, hashed), hop(data), hashed)


def _options_of_later_fragments(options: bytes) -> bytes:
    """Only those with the copied bit, padded to 4 bytes (RFC 791 §3.1)."""
    kept, at = b"", 0
    while at < len(options) and options[at] != 0:
        size = 1 if options[at] == 1 else options[at + 1]
        if options[at] & COPIED:
            kept += options[at:at + size]
        at += size
    return kept + b"\0" * (-len(kept) % 4)


def fragments(packet, mtu: int) -> list:
    """RFC 791 §3.2: pieces of at most `mtu` bytes, all but the last a multiple of 8."""
    data = bytes(packet)
    size = (data[0] & 15) * 4
    flags_offset = struct.unpack_from(">H", data, 6)[0]
    more, offset = flags_offset & 0x2000, flags_offset & 0x1FFF
    body, options, pieces = data[size:], data[20:size], []
    while body:
        header = bytearray(data[:20] + options)
        room = mtu - len(header)
        take = len(body) if len(body) <= room else room // 8 * 8
        last = take == len(body)
        header[0] = 0x40 | len(header) // 4
        struct.pack_into(">H", header, 2, len(header) + take)
        struct.pack_into(">H", header, 6, (0x2000 if not last else more) | offset)
        pieces.append(checksummed(bytes(header) + body[:take]))
        body, offset = body[take:], offset + take // 8
        if len(pieces) == 1:
            options = _options_of_later_fragments(options)
    return pieces


TIME_EXCEEDED, UNREACHABLE, TOO_BIG = "time exceeded", "unreachable", "too big"
NOBODY, NO_LINE = "nobody has it", "no line to it is up"
# RFC 1812 §5.2.7.1: of a network that is this router's, the host is unreachable. RFC 4443 §3.1: no
# route, and for what is wrong on the way itself, address unreachable.
_KINDS = {TIME_EXCEEDED: ((11, 0), (3, 0)), UNREACHABLE: ((3, 0), (1, 0)), TOO_BIG: ((3, 4), (2, 0)),
          NOBODY: ((3, 1), (1, 0)), NO_LINE: ((3, 1), (1, 3))}


def icmp_error(kind, about, source: str, mtu: int = 0) -> bytes:
    """The error about a packet, which is quoted as it came (RFC 792, RFC 1812 §4.3, RFC 4443 §2.4).

    IPv4: at most 576 bytes in all, precedence 6; IPv6: at most 1280.
    """
    data = bytes(about)
    four, six = _KINDS[kind]
    if data[0] >> 4 == 4:
        raw = bytearray(struct.pack(">BBHI", *four, 0, mtu) + data[:576 - 28])
        struct.pack_into(">H", raw, 2, internet_checksum(bytes(raw)))
        return bytes(IP(src=source, dst=_parsed(data).src, tos=0xC0, ttl=64, id=0, proto=1) /
                     Raw(bytes(raw)))
    quote = data[:1280 - 48]
    raw = bytearray(struct.pack(">BBHI", *six, 0, mtu) + quote)
    head = IPv6(src=source, dst=_parsed(data).src, hlim=64, nh=58)
    struct.pack_into(">H", raw, 2, in6_chksum(58, head, bytes(raw)))
    return bytes(head / Raw(bytes(raw)))
