#!/usr/bin/env python3
"""Test vectors of the tunnel protocol's messages, computed from the text of proto/TUNNEL.md §6-§7.

An implementation of its own, in Python's standard library alone: SipHash-2-4 with 128 bits is
written out here. Writes proto/keepalive_vectors.json; with --check, says whether it is up to date.
"""

import hashlib
import ipaddress
import json
import pathlib
import struct
import sys

FILE = pathlib.Path(__file__).resolve().parent.parent / "proto" / "keepalive_vectors.json"
MASK = (1 << 64) - 1
KEEPALIVE, CHALLENGE, ANSWER, PROBE, PROBE_ACK = 1, 2, 3, 4, 5
ADMIN_DOWN, DOWN, INIT, UP = 0, 1, 2, 3
POLL, FINAL, CLASSES, OBSERVED = 1, 2, 4, 8
SENDERS = {"DR": 0, "UR": 1}


def rotate(x, n):
    return (x << n | x >> (64 - n)) & MASK


def siphash128(key, data):
    """SipHash-2-4, 16 bytes of output."""
    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D ^ 0xEE,
         k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def rounds(n):
        for _ in range(n):
            v[0] = (v[0] + v[1]) & MASK
            v[2] = (v[2] + v[3]) & MASK
            v[1] = rotate(v[1], 13) ^ v[0]
            v[3] = rotate(v[3], 16) ^ v[2]
            v[0] = rotate(v[0], 32)
            v[2] = (v[2] + v[1]) & MASK
            v[0] = (v[0] + v[3]) & MASK
            v[1] = rotate(v[1], 17) ^ v[2]
            v[3] = rotate(v[3], 21) ^ v[0]
            v[2] = rotate(v[2], 32)

    padded = data + b"\0" * (7 - len(data) % 8) + bytes([len(data) & 255])
    for (word,) in struct.iter_unpack("<Q", padded):
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xEE
    rounds(4)
    first = v[0] ^ v[1] ^ v[2] ^ v[3]
    v[1] ^= 0xDD
    rounds(4)
    return struct.pack("<QQ", first, v[0] ^ v[1] ^ v[2] ^ v[3])


def mac_key(tunnel_key, sender, key_number, gre_key):
    label = b"DR keepalive v1" + bytes([SENDERS[sender], key_number]) + struct.pack("!I", gre_key)
    return hashlib.blake2b(label, digest_size=16, key=tunnel_key).digest()


def keepalive(f):
    body = struct.pack("!9I6H", f["desiredTx"], f["requiredRx"], f["txTime"], f["echoTime"],
                       f["echoHold"], f["received"], f["highest"], f["dataSent"],
                       f["dataReceived"], f["linesUp"], f["linesDown"], f["eligible"][0],
                       f["epoch"], f["policyGeneration"], f["pathMtu"])
    if f["flags"] & CLASSES:
        body += struct.pack("!7H", *f["eligible"][1:])
    if f["flags"] & OBSERVED:
        address = ipaddress.ip_address(f["observed"][0])
        body += struct.pack("!HH", address.version, f["observed"][1]) + address.packed.ljust(16, b"\0")
    return body


def body_of(f):
    if f["type"] == KEEPALIVE:
        return keepalive(f)
    if f["type"] in (CHALLENGE, ANSWER):
        return struct.pack("!QQ", f["token"], f["answer"])
    body = struct.pack("!QH6x", f["token"], f["probeSize"])
    return body + b"\0" * (f["probeSize"] - 56) if f["type"] == PROBE else body


def message(f):
    body = body_of(f)
    header = struct.pack("!BBHBBBBQQ", 1 << 4 | f["type"], f["flags"], 24 + len(body) + 16,
                         f["keyNumber"], f["state"] << 6 | f["diagnostic"], f["multiplier"],
                         f["notes"], f["salt"], f["counter"])
    key = mac_key(bytes.fromhex(f["tunnelKey"]), f["sender"], f["keyNumber"], f["greKey"])
    text = header + body
    return {**f, "macKey": key.hex(), "message": (text + siphash128(key, text)).hex()}


BASE = {"sender": "UR", "greKey": 0x0100002A, "tunnelKey": bytes(range(32)).hex(), "keyNumber": 1,
        "type": KEEPALIVE, "flags": 0, "state": DOWN, "diagnostic": 20, "multiplier": 3, "notes": 0,
        "salt": 0x0123456789ABCDEF, "counter": 1}
ALIVE = {**BASE, "desiredTx": 100000, "requiredRx": 100000, "txTime": 1000000, "echoTime": 0,
         "echoHold": 0xFFFFFFFF, "received": 0, "highest": 0, "dataSent": 0, "dataReceived": 0,
         "linesUp": 0, "linesDown": 0, "eligible": [0] * 8, "epoch": 0, "policyGeneration": 7,
         "pathMtu": 1418}
RUNNING = {**ALIVE, "sender": "DR", "state": UP, "diagnostic": 0, "counter": 0x100000001,
           "salt": 0xFEDCBA9876543210, "txTime": 0xFFFFFFF0, "echoTime": 987654321,
           "echoHold": 43210, "received": 1999, "highest": 2000, "dataSent": 123456,
           "dataReceived": 654321, "linesUp": 3, "eligible": [3] * 8, "epoch": 65535, "notes": 16}


def messages():
    yield {"what": "the first keepalive of a UR", **ALIVE}
    yield {"what": "a challenge of the DR", **BASE, "sender": "DR", "type": CHALLENGE,
           "token": 0x1122334455667788, "answer": 0}
    yield {"what": "the UR's answer, which challenges too", **BASE, "counter": 2, "type": ANSWER,
           "token": 0x99AABBCCDDEEFF00, "answer": 0x1122334455667788}
    yield {"what": "an answer alone", **BASE, "sender": "DR", "counter": 2, "type": ANSWER,
           "token": 0, "answer": 0x99AABBCCDDEEFF00}
    yield {"what": "a keepalive of a DR that is Up", **RUNNING}
    yield {"what": "the same with a poll and all blocks, observed IPv4", **RUNNING,
           "flags": POLL | CLASSES | OBSERVED, "eligible": [3, 1, 2, 3, 0, 3, 3, 3],
           "observed": ["192.0.2.100", 4754]}
    yield {"what": "the same with a final, observed IPv6 in native GRE, another key", **RUNNING,
           "flags": FINAL | OBSERVED, "observed": ["2001:db8:a::7", 0], "keyNumber": 2,
           "tunnelKey": bytes(range(100, 132)).hex()}
    yield {"what": "a UR behind a NAT, line 1 down, whose data is lost", **ALIVE, "state": UP,
           "diagnostic": 16, "notes": 7, "linesUp": 1, "linesDown": 2, "counter": 70000}
    yield {"what": "the smallest probe", **BASE, "state": UP, "diagnostic": 0, "counter": 9,
           "type": PROBE, "token": 5, "probeSize": 56}
    yield {"what": "a probe of 120 bytes", **BASE, "state": UP, "diagnostic": 0, "counter": 10,
           "type": PROBE, "token": 6, "probeSize": 120}
    yield {"what": "its acknowledgement", **BASE, "sender": "DR", "state": UP, "diagnostic": 0,
           "counter": 11, "type": PROBE_ACK, "token": 6, "probeSize": 120}


def main():
    if sys.argv[1:] not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    # The reference vector of SipHash's authors: key 00..0f, input 00..0e.
    reference = "5493e99933b0a8117e08ec0f97cfc3d9"
    if siphash128(bytes(range(16)), bytes(range(15))).hex() != reference:
        print("keepalive_vectors: siphash128 is wrong", file=sys.stderr)
        return 1
    wanted = json.dumps({"messages": [message(f) for f in messages()]}, indent=1) + "\n"
    if sys.argv[1:]:
        if not FILE.exists() or FILE.read_text() != wanted:
            print(f"proto/{FILE.name} is not what its text computes: run "
                  "scripts/keepalive_vectors.py", file=sys.stderr)
            return 1
        return 0
    FILE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
