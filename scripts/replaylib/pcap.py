"""Capture files: reading any kind that scapy knows, writing classic pcap with fixed timestamps."""

import struct
from pathlib import Path

from scapy.utils import RawPcapReader

ETHERNET = 1


class PcapError(Exception):
    """The file is no capture of Ethernet frames; the text says why."""


def read(path: Path) -> list:
    """All frames of a capture, as bytes."""
    try:
        with RawPcapReader(str(path)) as reader:
            linktype = getattr(reader, "linktype", None)
            if linktype not in (None, ETHERNET):
                raise PcapError(f"link type {linktype}, must be {ETHERNET} (Ethernet)")
            frames = []
            for data, meta in reader:
                if getattr(meta, "linktype", ETHERNET) != ETHERNET:
                    raise PcapError(f"link type {meta.linktype}, must be {ETHERNET} (Ethernet)")
                wirelen = getattr(meta, "wirelen", len(data))
                if wirelen is not None and wirelen > len(data):
                    raise PcapError(f"packet {len(frames) + 1} was cut when captured: "
                                    f"{len(data)} of {wirelen} bytes")
                frames.append(bytes(data))
            return frames
    except PcapError:
        raise
    except Exception as error:  # scapy raises many kinds
        raise PcapError(f"not a readable capture: {error}") from error


def encode(frames) -> bytes:
    """A classic little-endian pcap file; packet n carries the time n milliseconds."""
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, ETHERNET)]
    for number, frame in enumerate(frames):
        seconds, milliseconds = divmod(number, 1000)
        out.append(struct.pack("<IIII", seconds, milliseconds * 1000, len(frame), len(frame)))
        out.append(frame)
    return b"".join(out)


def write(path: Path, frames) -> None:
    path.write_bytes(encode(frames))
