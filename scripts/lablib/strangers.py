"""Somebody who knows no key: random keepalives for tunnels that exist, from the exchange.

Run as `strangers.py DEVICE FRAMES RATE SECONDS`: sends the frames of a file (hexadecimal lines) in
turn, each time with other random bytes at its end; prints how many.
"""

import os
import socket
import sys
import time

if __package__:
    from . import topology as t
    from .packets import mac

RANDOM_BYTES = 64


def main(device, path, rate, seconds):
    with open(path, encoding="ascii") as lines:
        frames = [bytes.fromhex(line)[:-RANDOM_BYTES] for line in lines]
    sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sender.bind((device, 0))
    begin = time.monotonic()
    sent = 0
    while True:
        elapsed = time.monotonic() - begin
        if elapsed >= seconds:
            break
        due = min(int(elapsed * rate) - sent, 256)
        noise = os.urandom(RANDOM_BYTES * max(due, 0))
        for i in range(due):
            at = i * RANDOM_BYTES
            sender.send(frames[sent % len(frames)] + noise[at:at + RANDOM_BYTES])
            sent += 1
        if due <= 0:
            time.sleep(0.0005)
    print(sent, flush=True)


def targets(lab, count):
    """Subscribers without a router, two tunnels with keepalives each: who has many tunnels has as
    many allowances of what strangers may send. Needs a lab with `signalled=`."""
    import json

    tunnels = [{"line": line, "encapsulation": "GRE_UDP", "local": t.DR_IX4} for line in "ab"]
    objects = [{"subscriber": {"name": f"target-{n}", "prefixes": [f"203.0.113.{128 + n}/32"],
                               "policy": "a-then-b", "profile": "FIXED", "tunnels": tunnels}}
               for n in range(count)]
    lab.router.drcli("apply", "-f", "-", stdin="".join(json.dumps(o) + "\n" for o in objects))
    lab.wait_in_sync()


def tunnel_ids(lab):
    """GRE keys of all tunnels, those of the targets and of real sites."""
    return sorted(status["tunnel"]["id"] for status in lab.tunnels().values())


def flood(lab, ids, *, rate, seconds):
    """Random keepalives from the Internet host's port at the exchange; how many were sent."""
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import GRE, Ether

    there, here = mac(lab.net["dr"], "ix0"), mac(lab.net["inet"], "ix0")
    path = lab.directory / f"strangers-{os.urandom(3).hex()}.hex"
    with open(path, "w", encoding="ascii") as lines:
        for number, key in enumerate(ids):
            frame = (Ether(src=here, dst=there) / IP(src=f"198.51.100.{10 + number % 200}", dst=t.DR_IX4)
                     / UDP(sport=20000 + number, dport=4754, chksum=0)
                     / GRE(key_present=1, key=key, proto=0x88B5) / bytes(RANDOM_BYTES))
            lines.write(bytes(frame).hex() + "\n")
    done = lab.net["inet"].run(["/usr/bin/python3", __file__, "ix0", path, rate, seconds],
                               timeout=seconds + 30)
    return int(done.stdout)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
