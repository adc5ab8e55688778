"""scripts/soak ports: an AF_XDP port under what strangers send, beside data, for long.

Random keepalives for many tunnels, IMIX with fragments and packets that earn ICMP errors, and a
numbered stream of 1,000 packets a second in each direction. At the end the port must be alive, no
port have stalled, as many packet buffers be in use as at the start, and nothing of the stream be
lost that the counters do not name. Prints one JSON line.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from lablib import strangers, switching
from lablib import topology as t
from lablib.lab import temporary_lab
from lablib.shell import LabError, wait_until
from lablib.stream import site_streams

TARGETS = 60
WAVER = 300
HUGE_PAGES = Path("/proc/sys/vm/nr_hugepages")
# Bytes of UDP payload, and how many of twelve: 64-byte packets, middle ones, full ones, and one that
# the tunnel must cut.
IMIX = [36] * 7 + [534] * 3 + [1400, 1460]
PORT = 9


def imix(address, rate, seconds):
    """In the Internet host's namespace. Every 50th packet has a TTL that ends at the DR."""
    plain, short = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    short.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
    for one in (plain, short):
        one.setsockopt(socket.IPPROTO_IP, 10, 0)  # IP_MTU_DISCOVER: no DF, so that it is cut
    begin, sent = time.monotonic(), 0
    while (elapsed := time.monotonic() - begin) < seconds:
        if sent >= int(elapsed * rate):
            time.sleep(0.0005)
            continue
        try:
            (short if sent % 50 == 0 else plain).sendto(bytes(IMIX[sent % 12]), (address, PORT))
        except OSError:  # an ICMP error that came back
            pass
        sent += 1


class HugePages:
    """As many as a data plane wants, or none; afterwards as many as before."""

    def __init__(self, wanted):
        self.wanted = wanted

    def __enter__(self):
        self.before = HUGE_PAGES.read_text()
        HUGE_PAGES.write_text(str(self.wanted))
        got = int(HUGE_PAGES.read_text())
        if got < self.wanted:
            HUGE_PAGES.write_text(self.before)
            raise LabError(f"{got} huge pages of {self.wanted}: memory is in pieces")

    def __exit__(self, *_):
        HUGE_PAGES.write_text(self.before)


def softnet_drops():
    """Packets that the machine's own network stack had no room for: of every veth pair, too."""
    with open("/proc/net/softnet_stat", encoding="ascii") as lines:
        return sum(int(line.split()[1], 16) for line in lines)


def stalls(counters):
    return {name: count for name, count in counters.items()
            if name.endswith((".stalls", ".buffers_lost")) and count}


def soak(lab, options):
    ids = strangers.tunnel_ids(lab)
    site = lab.sites[0]
    # The rings are full of their own after the first packets.
    strangers.flood(lab, ids, rate=options.rate, seconds=1)
    before, first, softnet = lab.buffers(), lab.counters(), softnet_drops()
    sender = subprocess.Popen(lab.net["inet"].command(
        ["/usr/bin/python3", __file__, "imix", site.lan4, options.data, options.seconds]))
    try:
        with site_streams(lab, rate=options.stream) as running:
            sent = strangers.flood(lab, ids, rate=options.rate, seconds=options.seconds)
            recordings = {way: one.end() for way, one in running.items()}
    finally:
        sender.terminate()
        sender.wait()
    received = lab.counters()["port.ix0.rx_packets"]
    lab.ping("inet", site.lan4, check=False)
    try:
        wait_until(lambda: abs(lab.buffers() - before) <= WAVER, "buffers", seconds=10)
    except LabError:
        pass
    last = lab.counters()
    moved = {name: last[name] - first[name] for name in last if name in first
             and last[name] != first[name]
             and (name.startswith(("drop.", "icmp.", "punt.keep")) or name.endswith("rx_missed"))}
    log = lab.router.dataplane.output()
    result = {
        "name": "soak.ports", "pages": options.pages, "seconds": options.seconds,
        "keepalives_sent": sent, "keepalives_handed_over": moved.get("punt.keepalive", 0),
        "buffers_before": before, "buffers_after": lab.buffers(),
        "huge": "going on with small pages" not in log,
        "softnet_drops": softnet_drops() - softnet,
        "alive": last["port.ix0.rx_packets"] > received, "stalls": stalls(last), "moved": moved,
        "stream": {way: {"packets": len(r.sent), "lost": sum(1 for at in r.arrived if at == 0)}
                   for way, r in recordings.items()}}
    # What a full port loses is counted; the stream may have its part in it.
    named = result["softnet_drops"] + sum(
        count for name, count in moved.items()
        if name in ("drop.transmit", "drop.no_buffers") or name.endswith("rx_missed"))
    lost = sum(one["lost"] for one in result["stream"].values())
    good = (result["alive"] and not result["stalls"] and lost <= named
            and abs(result["buffers_after"] - before) <= WAVER)
    return result, good


def main():
    parser = argparse.ArgumentParser(prog="scripts/soak ports", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--rate", type=int, default=5_000, help="random keepalives a second")
    parser.add_argument("--data", type=int, default=1_000, help="IMIX packets a second")
    parser.add_argument("--stream", type=int, default=1_000,
                        help="numbered packets a second, each way")
    parser.add_argument("--pages", choices=["small", "huge"], default="small",
                        help="memory of the data plane; huge: takes 200 huge pages of 2 MiB")
    options = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("it needs root, for network namespaces")
    try:
        with HugePages(200 if options.pages == "huge" else 0), \
                temporary_lab(signalled={"wait_to_restore": 2}) as lab:
            strangers.targets(lab, TARGETS)
            switching.wait_up(lab)
            wait_until(lambda: lab.ping("lan1", t.INET4, check=False).returncode == 0,
                       "an answer of the Internet host", seconds=20)
            result, good = soak(lab, options)
    except LabError as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result), flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["imix"]:
        imix(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
    else:
        sys.exit(main())
