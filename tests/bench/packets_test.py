#!/usr/bin/python3
"""The benchmarks' packets."""

import itertools
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import packets


class Packets(unittest.TestCase):
    def test_a_patched_frame_equals_the_one_that_is_built_layer_by_layer(self):
        for way, inner, outer, encapsulation, size in itertools.product(
                ("downlink", "uplink"), (4, 6), (4, 6), ("gre", "gre-udp"), (60, 590)):
            shape = packets.Shape(way, inner, outer, encapsulation, size)
            for n, ports in ((0, 0x04010402), (1, 0xFFFFFFFF), (77_777, 0x12345679),
                             (999_999, 0xABCDE432)):
                site = packets.Site(n)
                built = (packets.uplink(site, inner, outer, encapsulation, size, ports)
                         if way == "uplink" else packets.downlink(site, inner, size, ports))
                self.assertEqual(shape.make(n, ports), built, (way, inner, outer, encapsulation, n))

    def test_a_source_has_a_packet_for_each_subscriber_and_all_differ(self):
        with tempfile.TemporaryDirectory() as work:
            path = f"{work}/x.pcap"
            packets.make(path, "mixed", "gre", 4, 4, 500, "64", 1000)
            with open(path, "rb") as f:
                data = f.read()[24:]
        frames, hosts, at = set(), set(), 0
        while at < len(data):
            length = int.from_bytes(data[at + 8:at + 12], "little")
            frame, at = data[at + 16:at + 16 + length], at + 16 + length
            frames.add(frame)
            hosts.add(frame[30:34] if frame[23] == 17 else frame[14 + 20 + 8 + 12:14 + 20 + 8 + 16])
        self.assertEqual((len(frames), len(hosts)), (1000, 500))


if __name__ == "__main__":
    unittest.main(verbosity=2)
