"""Sent frames against expected ones: whole frames, byte for byte, except for masked fields."""

import struct

IPV4, IPV6, UDP = 0x0800, 0x86DD, 17


def _sum16(data: bytes) -> int:
    """Ones' complement sum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def masked(frame: bytes, masks) -> bytes:
    """The frame with the masked fields of its outermost IP header set to 0.

    A checksum over a masked field is replaced too, by a value that says only whether it was right:
    so a wrong one still differs.
    """
    if not masks or len(frame) < 34:
        return frame
    out = bytearray(frame)
    ethertype = struct.unpack_from(">H", frame, 12)[0]
    if ethertype == IPV4:
        size = (frame[14] & 15) * 4
        pseudo, protocol, upper = frame[26:34], frame[23], 14 + size
        end = 14 + struct.unpack_from(">H", frame, 16)[0]
        if "outer.ipv4.id" in masks and _sum16(frame[14:14 + size]) == 0xFFFF:
            out[18:20] = b"\0\0"
            out[24:26] = b"\0\0"
        fragment = struct.unpack_from(">H", frame, 20)[0] & 0x1FFF
    elif ethertype == IPV6 and len(frame) >= 54:
        pseudo, protocol, upper, fragment = frame[22:54], frame[20], 54, 0
        end = 54 + struct.unpack_from(">H", frame, 18)[0]
        if "outer.ipv6.flowlabel" in masks:
            out[15] &= 0xF0
            out[16:18] = b"\0\0"
    else:
        return frame
    if "outer.udp.sport" in masks and protocol == UDP and not fragment and len(frame) >= upper + 8:
        out[upper:upper + 2] = b"\0\0"
        checksum = frame[upper + 6:upper + 8]
        body = frame[upper:end]
        right = _sum16(pseudo + struct.pack(">HH", UDP, len(body)) + body) == 0xFFFF
        if checksum != b"\0\0" and right:
            out[upper + 6:upper + 8] = b"\xff\xff"
    return bytes(out)


def _is_merge(expected, streams) -> bool:
    """Is `expected` an interleaving of the streams, each in its own order?"""
    places = {tuple(0 for _ in streams)}
    for frame in expected:
        after = set()
        for place in places:
            for n, at in enumerate(place):
                if at < len(streams[n]) and streams[n][at] == frame:
                    after.add(place[:n] + (at + 1,) + place[n + 1:])
        if not after:
            return False
        places = after
    return tuple(len(s) for s in streams) in places


def same(expected, streams, masks) -> bool:
    """streams: what the port sent, a list for each port that received in the step.

    Packets leave in the order of the port that received them; between such ports any order is
    right.
    """
    want = [masked(f, masks) for f in expected]
    have = [[masked(f, masks) for f in s] for s in streams if s]
    if want == [f for s in have for f in s]:
        return True
    return len(have) > 1 and len(want) == sum(map(len, have)) and _is_merge(want, have)


def first_difference(expected, sent, masks) -> int:
    """The number of the first frame that differs, from 0."""
    for n, (want, have) in enumerate(zip(expected, sent)):
        if masked(want, masks) != masked(have, masks):
            return n
    return min(len(expected), len(sent))


def _shared(frame: bytes, packet: bytes) -> int:
    """How many bytes of a packet that was received are found in a frame that was sent: its end, in or
    out of a tunnel, or its beginning, quoted by an ICMP error."""
    end = 0
    while end < min(len(frame), len(packet)) and frame[-1 - end] == packet[-1 - end]:
        end += 1
    quoted = 0
    for size in (20, 28, 64, 128):
        if packet[14:14 + size] in frame:
            quoted = min(size, len(packet) - 14)
    return max(end, quoted)


def likely_cause(frame: bytes, send, number: int):
    """(port, number) of the packet that most likely gave the frame; of several that are as like it the
    one nearest to `number`, for packets leave in order. None: none is like it."""
    found = [(_shared(frame, packet), -abs(n - number), port, n)
             for port, packets in send.items() for n, packet in enumerate(packets)]
    best = max(found, default=None)
    return (best[2], best[3]) if best and best[0] >= 8 else None
