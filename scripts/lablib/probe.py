"""A counted stream of UDP packets, to tell exactly which were lost.

Run inside namespaces as `probe.py send|receive`; `Probe` starts both ends. Each packet carries
its number. The sender keeps to its rate by the clock and sends the total that it announces; the
receiver notes the numbers, and when the last arrived.
"""

import json
import select
import socket
import struct
import sys
import time

if __package__:
    from . import topology as t
    from .process import Process
    from .shell import LabError, wait_until

PAYLOAD = 64
BUFFER = 8 << 20


def _socket(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    # SO_SNDBUFFORCE and SO_RCVBUFFORCE: beyond the machine's limit, root only.
    for option in (32, 33):
        sock.setsockopt(socket.SOL_SOCKET, option, BUFFER)
    return sock


def send(address, port, rate, seconds, flows, payload):
    """Numbers the packets 0..n-1 over `flows` source ports, so that every tunnel gets some."""
    sockets = [_socket(address) for _ in range(flows)]
    for sock in sockets:
        sock.connect((address, port))
    total = int(rate * seconds)
    padding = bytes(payload - 8)
    start = time.monotonic()
    late = 0.0
    for number in range(total):
        due = start + number / rate
        wait = due - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        else:
            late = max(late, -wait)
        sockets[number % flows].send(struct.pack("!Q", number) + padding)
    print(json.dumps({"sent": total, "late_ms": round(late * 1000, 1)}), flush=True)


def receive(address, port, stop_after_silence):
    """Counts until `stop_after_silence` seconds after the last packet."""
    sock = _socket(address)
    sock.bind((address, port))
    sock.setblocking(False)
    print("listening", flush=True)
    seen, duplicates, gaps, reordered = bytearray(), 0, [], 0
    first = last = None
    highest = -1
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        readable, _, _ = select.select([sock], [], [], 0.1)
        now = time.monotonic()
        if not readable:
            if last is not None and now - last > stop_after_silence:
                break
            continue
        while True:
            try:
                data = sock.recv(2048)
            except BlockingIOError:
                break
            (number,) = struct.unpack_from("!Q", data)
            if number >= len(seen):
                seen.extend(bytes(number + 1 - len(seen)))
            if seen[number]:
                duplicates += 1
            seen[number] = 1
            reordered += number < highest
            highest = max(highest, number)
            if last is not None and now - last > 0.02:
                gaps.append(round((now - last) * 1000))
            first, last = first or now, now
    missing = [n for n in range(len(seen)) if not seen[n]]
    print(json.dumps({"received": sum(seen), "duplicates": duplicates, "reordered": reordered,
                      "missing": missing[:20], "last": highest,
                      "longest_gap_ms": max(gaps, default=0)}), flush=True)


class Probe:
    """One direction: from a node to an address of another one, in the background."""

    def __init__(self, lab, source, destination, address, *, rate=1000, seconds=10, flows=16,
                 port=9000, silence=1.5, payload=PAYLOAD):
        self.name = f"{source}-{destination}-{'6' if ':' in address else '4'}"
        self.seconds = seconds
        script = [sys.executable or "/usr/bin/python3", __file__]
        self.receiver = Process.start(
            f"probe receiver {self.name}",
            lab.net[destination].command([*script, "receive", address, port, silence]),
            lab.directory / f"probe-{self.name}-{port}-receive.log", ready="listening")
        lab.helpers.append(self.receiver)
        self.sender = Process.start(
            f"probe sender {self.name}",
            lab.net[source].command([*script, "send", address, port, rate, seconds, flows,
                                      payload]),
            lab.directory / f"probe-{self.name}-{port}-send.log")
        lab.helpers.append(self.sender)
        self.lab = lab

    def result(self):
        """Waits for the end; {"sent", "received", "lost", ...}."""
        for process in (self.sender, self.receiver):
            wait_until(lambda p=process: not p.alive(), f"the end of {process.name}",
                       seconds=self.seconds + 30, interval=0.1)
            self.lab.helpers.remove(process)
        result = json.loads(self.sender.output().splitlines()[-1])
        result.update(json.loads(self.receiver.output().splitlines()[-1]))
        result["lost"] = result["sent"] - result["received"]
        return result


def four_probes(lab, *, seconds, rate=500):
    """Both directions in both families, between the Internet host and the first site."""
    site = lab.sites[0]
    ways = [("inet", "lan1", site.lan4), ("inet", "lan1", site.lan6),
            ("lan1", "inet", t.INET4), ("lan1", "inet", t.INET6)]
    return [Probe(lab, source, destination, address, rate=rate, seconds=seconds)
            for source, destination, address in ways]


def lost_nothing(probes):
    """LabError unless every packet of every probe arrived, once; says how many that were."""
    results = {probe.name: probe.result() for probe in probes}
    bad = {name: r for name, r in results.items() if r["lost"] or r["duplicates"]}
    if bad:
        raise LabError("\n".join(f"{name}: {result}" for name, result in bad.items()))
    return f"{sum(r['sent'] for r in results.values())} packets sent, all arrived"


if __name__ == "__main__":
    if sys.argv[1] == "send":
        send(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]),
             int(sys.argv[6]), int(sys.argv[7]))
    else:
        receive(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
