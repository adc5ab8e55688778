#!/usr/bin/python3
"""The forger's frames are what their kind says."""

import os
import random
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [f"{ROOT}/tests/bench", f"{ROOT}/tests/swarm"]

import forge
import packets

UR4, DR4 = bytes([10, 0, 1, 7]), packets.DR_LOCAL4
UR6, DR6 = bytes.fromhex("20010db8000b00000000000000010007"), packets.DR_LOCAL6


def keepalive(source: bytes, destination: bytes, udp: bool) -> bytes:
    body = bytes.fromhex("200088b501000007") + bytes(range(88))
    body = packets.udp(20000, 4754, body) if udp else body
    ip = packets.ipv4 if len(source) == 4 else packets.ipv6
    return packets.frame(ip(source, destination, 17 if udp else 47, body))


SENT = [keepalive(UR4, DR4, True), keepalive(UR4, DR4, False), keepalive(UR6, DR6, True)]
RECEIVED = [keepalive(DR4, UR4, True), keepalive(DR6, UR6, False)]


class Forge(unittest.TestCase):
    def setUp(self):
        random.seed(3)

    def test_a_frame_taken_apart_is_put_together_as_it_was(self):
        for frame in SENT + RECEIVED:
            self.assertEqual(forge.Keepalive(frame).build(), frame)
        self.assertEqual(forge.forge("replayed", SENT, RECEIVED, 3), SENT)

    def test_each_kind_changes_what_it_says_and_nothing_else(self):
        for kind, salt, tag, source in (("tag", 0, 1, 0), ("salt", 1, 1, 0), ("source", 1, 1, 1),
                                        ("stolen", 0, 0, 1)):
            for before, frame in zip(SENT, forge.forge(kind, SENT, RECEIVED, 3)):
                a, b = forge.Keepalive(before), forge.Keepalive(frame)
                self.assertEqual(a.message[8:16] != b.message[8:16], salt, kind)
                self.assertEqual(a.message[-16:] != b.message[-16:], tag, kind)
                self.assertEqual(a.message[16:-16], b.message[16:-16], kind)
                self.assertEqual(a.source != b.source, source, kind)
                self.assertEqual((a.key, a.destination), (b.key, b.destination), kind)

    def test_a_truncated_one_is_sound_outside_and_shorter_inside(self):
        for before, frame in zip(SENT, forge.forge("truncated", SENT, RECEIVED, 3)):
            cut = forge.Keepalive(frame)
            self.assertLess(len(frame), len(before))
            self.assertEqual(cut.build(), frame)

    def test_a_reflected_one_comes_from_the_ur_with_the_drs_message(self):
        for before, frame in zip(RECEIVED, forge.forge("reflected", SENT, RECEIVED, 2)):
            a, b = forge.Keepalive(before), forge.Keepalive(frame)
            self.assertEqual((a.source, a.destination), (b.destination, b.source))
            self.assertEqual(a.message, b.message)

    def test_the_reference_is_data_of_the_same_size_from_elsewhere(self):
        for before, frame in zip(SENT, forge.forge(forge.REFERENCE, SENT, RECEIVED, 3)):
            self.assertEqual(len(before), len(frame))
            a, b = forge.Keepalive(before), forge.Keepalive(frame)
            self.assertEqual((b.type, b.key, b.destination), (0x0800, a.key, a.destination))
            self.assertNotEqual(a.source, b.source)

    def test_one_that_is_ahead_differs_in_counter_and_tag(self):
        for before, frame in zip(SENT, forge.forge(forge.WATCHER, SENT, RECEIVED, 3)):
            a, b = forge.Keepalive(before), forge.Keepalive(frame)
            self.assertGreater(b.message[16:24], a.message[16:24])
            self.assertEqual((a.source, a.message[:16], a.message[24:-16]),
                             (b.source, b.message[:16], b.message[24:-16]))
            self.assertNotEqual(a.message[-16:], b.message[-16:])

    def test_the_mixture_has_all_kinds(self):
        frames = forge.forge("mixed", SENT, RECEIVED, 700)
        self.assertEqual(len(frames), 700)
        self.assertEqual(len({len(f) for f in frames} & {len(f) for f in SENT}), 3)
        genuine = sum(frame in SENT for frame in frames)
        self.assertEqual(genuine, 100)


if __name__ == "__main__":
    unittest.main()
