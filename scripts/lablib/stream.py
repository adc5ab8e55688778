"""A numbered stream of UDP packets between two namespaces, and when each arrived.

Run as `stream.py SOURCE_NS DESTINATION_NS ADDRESS PORT RATE FLOWS FILE`: sends until its standard
input ends, then writes FILE: for each packet sent three u64: number, time sent, time of arrival (0:
lost), on CLOCK_MONOTONIC, in nanoseconds; packets that overtook others are counted in the printed
line. `Stream` starts it; `Recording` reads the file.
"""

import ctypes
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from array import array
from bisect import bisect_left
from contextlib import contextmanager

if __package__:
    from . import topology as t

CLONE_NEWNET = 0x40000000
SO_RCVBUFFORCE = 33
PAYLOAD = 64


def _in_namespace(name, family):
    """A UDP socket of this process that belongs to another namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        if libc.setns(there, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {name}")
        return socket.socket(family, socket.SOCK_DGRAM)
    finally:
        libc.setns(home, CLONE_NEWNET)
        os.close(home)
        os.close(there)


def main(source, destination, address, port, rate, flows, path):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    receiver = _in_namespace(destination, family)
    receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    receiver.bind((address, port))
    receiver.setblocking(False)
    senders = [_in_namespace(source, family) for _ in range(flows)]
    for sender in senders:
        sender.connect((address, port))
    os.set_blocking(0, False)
    sent, arrived, orders = array("Q"), array("Q"), array("Q")
    padding = bytes(PAYLOAD - 8)
    step = int(1e9 / rate)
    due = time.monotonic_ns()
    unsent = duplicates = 0
    ending = None
    print("streaming", flush=True)
    while ending is None or time.monotonic_ns() < ending:
        now = time.monotonic_ns()
        # What came so late that its time has passed is sent at once, at most 5 at a time.
        for _ in range(5):
            if ending is not None or due > now:
                break
            number = len(sent)
            try:
                senders[number % flows].send(struct.pack("!Q", number) + padding)
            except OSError:  # no route at this moment: it is lost
                unsent += 1
            sent.append(time.monotonic_ns())
            arrived.append(0)
            due += step
        wait = 0.01 if ending is not None else max(due - time.monotonic_ns(), 0) / 1e9
        readable, _, _ = select.select([receiver, 0] if ending is None else [receiver], [], [], wait)
        if receiver in readable:
            now = time.monotonic_ns()
            while True:
                try:
                    (number,) = struct.unpack_from("!Q", receiver.recv(2048))
                except BlockingIOError:
                    break
                if arrived[number]:
                    duplicates += 1
                    continue
                arrived[number] = now
                orders.append(number)
        if 0 in readable and not os.read(0, 4096):
            ending = time.monotonic_ns() + 1_500_000_000
    with open(path, "wb") as file:
        for number in range(len(sent)):
            file.write(struct.pack("=QQQ", number, sent[number], arrived[number]))
    with open(path + ".order", "wb") as file:
        orders.tofile(file)
    print(json.dumps({"sent": len(sent), "received": len(orders), "unsent": unsent,
                      "duplicates": duplicates}), flush=True)


class Recording:
    """What a stream has recorded."""

    def __init__(self, path):
        self.sent, self.arrived = array("Q"), array("Q")
        with open(path, "rb") as file:
            for _, sent, arrived in struct.iter_unpack("=QQQ", file.read()):
                self.sent.append(sent)
                self.arrived.append(arrived)
        self.order = array("Q")
        with open(path + ".order", "rb") as file:
            self.order.frombytes(file.read())

    def window(self, begin, end):
        """Of the packets sent in [begin, end) ns: lost, reordered, and the longest time in ms
        without an arrival (`at_ms`: when that began, from `begin`)."""
        inside = range(bisect_left(self.sent, begin), bisect_left(self.sent, end))
        if not inside:
            raise ValueError("nothing was sent in this window")
        highest, reordered, longest, at, before = -1, 0, 0, begin, begin
        for number in self.order:
            if number not in inside:
                continue
            reordered += number < highest
            highest = max(highest, number)
            now = self.arrived[number]
            if now - before > longest:
                longest, at = now - before, before
            before = now
        lost = sum(self.arrived[n] == 0 for n in inside)
        if highest < 0:
            longest = end - begin
        return {"packets": len(inside), "lost": lost, "reordered": reordered,
                "interruption_ms": longest / 1e6, "at_ms": (at - begin) / 1e6}


class Stream:
    """One direction between two namespaces of a lab, in the background."""

    def __init__(self, lab, source, destination, address, *, rate=1000, flows=16, port=9100):
        self.path = str(lab.directory / f"stream-{source}-{destination}-{port}")
        self.process = subprocess.Popen(
            ["/usr/bin/python3", __file__, lab.net[source].name, lab.net[destination].name, address,
             str(port), str(rate), str(flows), self.path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "streaming\n":
            raise RuntimeError(f"the stream from {source} to {destination} does not start")

    def end(self):
        """Stops sending, waits for what is on its way; a Recording."""
        self.process.stdin.close()
        self.process.stdout.read()
        if self.process.wait(timeout=30) != 0:
            raise RuntimeError("a stream has failed")
        return Recording(self.path)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@contextmanager
def site_streams(lab, *, rate=1000, site=0):
    """{"downlink": Stream, "uplink": Stream} between the Internet host and a site's LAN, IPv4."""
    lan = f"lan{lab.sites[site].number}"
    ends = {"downlink": ("inet", lan, lab.sites[site].lan4), "uplink": (lan, "inet", t.INET4)}
    running = {}
    try:
        for direction, (source, destination, address) in ends.items():
            running[direction] = Stream(lab, source, destination, address, rate=rate)
        yield running
    finally:
        for one in running.values():
            one.kill()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5]),
         int(sys.argv[6]), sys.argv[7])
