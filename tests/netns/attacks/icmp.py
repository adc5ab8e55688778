"""ICMP errors that a stranger makes about the tunnel packets of somebody else."""

import struct

from . import frames as f

# What a forged "fragmentation needed" or "packet too big" asks for.
MTUS = (0, 68, 576, 1280, 1400)
UNREACHABLE, SOURCE_QUENCH, REDIRECT, TIME_EXCEEDED, PARAMETER = 3, 4, 5, 11, 12
UNREACHABLE6, TOO_BIG6, TIME_EXCEEDED6, PARAMETER6, REDIRECT6 = 1, 2, 3, 4, 137


def errors4(about, sender, receiver, elsewhere):
    """Every kind of error of IPv4 about the packet `about`, which `receiver` may have sent; a
    redirect leads to `elsewhere`. As IP packets."""
    nothing = bytes(4)
    kinds = [(UNREACHABLE, code, nothing) for code in range(16) if code != 4]
    kinds += [(UNREACHABLE, 4, struct.pack("!HH", 0, mtu)) for mtu in MTUS]
    kinds += [(SOURCE_QUENCH, 0, nothing)]
    kinds += [(REDIRECT, code, f.packed(elsewhere)) for code in range(4)]
    kinds += [(TIME_EXCEEDED, code, nothing) for code in range(2)]
    kinds += [(PARAMETER, code, nothing) for code in range(3)]
    # The least that RFC 792 asks for, and all of it as RFC 1812 allows.
    return [f.icmp(sender, receiver, kind, code, rest, about[:length])
            for kind, code, rest in kinds for length in (28, 128)]


def errors6(about, sender, receiver, elsewhere):
    nothing = bytes(4)
    kinds = [(UNREACHABLE6, code, nothing) for code in range(8)]
    kinds += [(TOO_BIG6, 0, struct.pack("!I", mtu)) for mtu in MTUS]
    kinds += [(TIME_EXCEEDED6, code, nothing) for code in range(2)]
    kinds += [(PARAMETER6, code, nothing) for code in range(3)]
    found = [f.icmp(sender, receiver, kind, code, rest, about[:length])
             for kind, code, rest in kinds for length in (48, 128)]
    # RFC 4861: target and destination, then options; the redirected packet is one of them.
    padded = about[:104].ljust(104, b"\0")
    option = struct.pack("!BBHI", 4, (8 + len(padded)) // 8, 0, 0) + padded
    redirect = f.icmp(sender, receiver, REDIRECT6, 0, nothing,
                      f.packed(elsewhere) + about[24:40] + option)
    return [*found, redirect[:7] + b"\xff" + redirect[8:]]  # a redirect needs hop limit 255
