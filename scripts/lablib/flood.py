"""Frames sent at a rate, from a device of a namespace, for as long as wanted."""

from .process import Process
from .shell import LabError

# Frames in turn, RATE a second, without the pauses that other programs would make: limits recover in
# those. What was not sent in time is made up for 50 ms at most.
SEND = """
import os, socket, sys, time
os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
device, path, rate = sys.argv[1], sys.argv[2], int(sys.argv[3])
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sock.bind((device, 0))
with open(path, encoding="ascii") as lines:
    frames = [bytes.fromhex(line) for line in lines]
print("flood: ready", flush=True)
begin, sent = time.monotonic(), 0
while True:
    due = int((time.monotonic() - begin) * rate)
    sent = max(sent, due - rate // 20)
    while sent < due:
        try:
            sock.send(frames[sent % len(frames)])
        except OSError:
            pass
        sent += 1
    time.sleep(0.001)
"""


class Flood:
    """`with Flood(lab, "ispa", "ix0", frames, rate=20_000):` sends meanwhile."""

    def __init__(self, lab, node, device, frames, *, rate):
        self.lab, self.node, self.device, self.frames, self.rate = lab, node, device, frames, rate

    def __enter__(self):
        stem = self.lab.directory / f"flood-{self.node}-{self.device}"
        stem.with_suffix(".hex").write_text("".join(f.hex() + "\n" for f in self.frames))
        self.process = Process.start(
            "flood", self.lab.net[self.node].command(
                ["/usr/bin/python3", "-c", SEND, self.device, stem.with_suffix(".hex"), self.rate]),
            stem.with_suffix(".log"), ready="flood: ready")
        self.lab.helpers.append(self.process)
        return self

    def __exit__(self, *_):
        alive = self.process.alive()
        self.process.stop()
        self.lab.helpers.remove(self.process)
        if not alive:
            raise LabError(f"the flood ended by itself: {self.process.output()}")
