"""Frames on a wire at a rate, or as fast as one core makes them.

Run inside a namespace as `flood.py DEVICE FILE RATE SECONDS`: sends the frames of FILE (each behind
its length, u16) in turn; RATE 0 is as fast as possible, SECONDS 0 until SIGTERM. `Flood` starts it.
"""

import ctypes
import json
import random
import signal
import socket
import struct
import sys
import time
from pathlib import Path

SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20
BATCH = 64


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_char_p), ("length", ctypes.c_size_t)]


class Mmsghdr(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32),
                ("iov", ctypes.POINTER(Iovec)), ("iov_length", ctypes.c_size_t),
                ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
                ("flags", ctypes.c_int), ("sent", ctypes.c_uint32)]


def prepared(frames):
    """The messages for sendmmsg, at least a batch of them; and what they point to."""
    frames = frames * -(-BATCH // len(frames))
    iovecs = (Iovec * len(frames))(*[Iovec(frame, len(frame)) for frame in frames])
    messages = (Mmsghdr * len(frames))()
    for number in range(len(frames)):
        messages[number].iov = ctypes.pointer(iovecs[number])
        messages[number].iov_length = 1
    return messages, iovecs


def main(device, path, rate, seconds):
    data, frames, at = Path(path).read_bytes(), [], 0
    while at < len(data):
        length, = struct.unpack_from("!H", data, at)
        frames.append(data[at + 2:at + 2 + length])
        at += 2 + length
    messages, _alive = prepared(frames)
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sock.bind((device, 0))
    sock.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
    libc = ctypes.CDLL(None, use_errno=True)
    ending = []
    signal.signal(signal.SIGTERM, lambda *_: ending.append(True))
    sent = place = 0
    begin = time.monotonic()
    print("flooding", flush=True)
    while not ending and (seconds == 0 or time.monotonic() < begin + seconds):
        batch = BATCH
        if rate:
            # What is late is sent at once: the rate is one on average.
            batch = min(BATCH, int((time.monotonic() - begin) * rate) - sent)
            if batch <= 0:
                time.sleep(min(0.001, 1 / rate))
                continue
        batch = min(batch, len(messages) - place)
        done = libc.sendmmsg(sock.fileno(), ctypes.byref(messages, place * ctypes.sizeof(Mmsghdr)),
                             batch, 0)
        if done > 0:
            sent += done
            place = (place + done) % len(messages)
    took = time.monotonic() - begin
    print(json.dumps({"sent": sent, "seconds": took}), flush=True)


class Flood:
    """`with Flood(lab, "inet", "ix0", frames, rate=5000) as flood:`; afterwards flood.sent and
    flood.rate, packets and packets a second that left."""

    def __init__(self, lab, node, device, frames, *, rate=0, seconds=0):
        from lablib.process import Process

        name = f"flood-{random.randbytes(3).hex()}"
        path = lab.directory / f"{name}.frames"
        path.write_bytes(b"".join(struct.pack("!H", len(f)) + f for f in frames))
        self.lab, self.sent, self.rate = lab, 0, 0.0
        self.process = Process.start(
            name, lab.net[node].command(
                ["/usr/bin/python3", __file__, device, path, rate, seconds]),
            lab.directory / f"{name}.log", ready="flooding")
        lab.helpers.append(self.process)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def wait(self, seconds):
        """Its own end: it was given a number of seconds."""
        from lablib.shell import wait_until

        wait_until(lambda: not self.process.alive(), "the end of the flood", seconds=seconds)

    def end(self):
        if self.process in self.lab.helpers:
            self.process.stop()
            self.lab.helpers.remove(self.process)
            result = json.loads(self.process.output().splitlines()[-1])
            self.sent = result["sent"]
            self.rate = result["sent"] / max(result["seconds"], 1e-3)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
