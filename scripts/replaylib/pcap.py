"""Capture files: classic pcap read strictly, pcapng by scapy; written with fixed timestamps."""

import struct
from pathlib import Path

ETHERNET = 1
PCAPNG = 0x0A0D0D0A
# Microseconds and nanoseconds; the order of the bytes shows the order of all others.
CLASSIC = {0xA1B2C3D4, 0xA1B23C4D}


class PcapError(Exception):
    """The file is no capture of Ethernet frames; the text says why."""


def read(path: Path) -> list:
    """All frames of a capture, as bytes."""
    data = path.read_bytes()
    if len(data) >= 4 and struct.unpack_from("<I", data)[0] == PCAPNG:
        return _read_pcapng(path)
    for order in "<>":
        if len(data) >= 24 and struct.unpack_from(order + "I", data)[0] in CLASSIC:
            return _read_classic(data, order)
    raise PcapError("neither pcap nor pcapng")


def _read_classic(data, order):
    linktype = struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF
    if linktype != ETHERNET:
        raise PcapError(f"link type {linktype}, must be {ETHERNET} (Ethernet)")
    frames, at = [], 24
    while at < len(data):
        if at + 16 > len(data):
            raise PcapError(f"ends within the header of packet {len(frames) + 1}")
        captured, on_wire = struct.unpack_from(order + "II", data, at + 8)
        frame = data[at + 16:at + 16 + captured]
        if len(frame) < captured:
            raise PcapError(f"ends within packet {len(frames) + 1}")
        _check_whole(frames, captured, on_wire)
        frames.append(frame)
        at += 16 + captured
    return frames


def _read_pcapng(path):
    from scapy.utils import RawPcapNgReader  # here, because it takes long to load
    frames = []
    try:
        reader = RawPcapNgReader(str(path))
        try:
            for frame, meta in reader:
                if meta.linktype != ETHERNET:
                    raise PcapError(f"link type {meta.linktype}, must be {ETHERNET} (Ethernet)")
                _check_whole(frames, len(frame), meta.wirelen)
                frames.append(bytes(frame))
        finally:
            reader.close()
    except PcapError:
        raise
    except Exception as error:  # scapy raises many kinds
        raise PcapError(f"not a readable pcapng file: {error}") from error
    return frames


def _check_whole(frames, captured, on_wire):
    if captured < on_wire:
        raise PcapError(f"packet {len(frames) + 1} was cut when it was captured: "
                        f"{captured} of {on_wire} bytes")


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
