#!/usr/bin/python3
"""scripts/bench keepalive: tiny runs of each part, for their fields and not for their figures.

    keepalive_test.py BUILD_DIRECTORY
"""

import json
import os
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(sys.argv.pop(1) if len(sys.argv) > 1 else f"{ROOT}/build")
SKIPPED = 77


def bench(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([f"{ROOT}/scripts/bench", "keepalive", *arguments], capture_output=True,
                          text=True, check=False, env=os.environ | {"DR_BUILD": BUILD})


class Keepalive(unittest.TestCase):
    def lines(self, *arguments: str) -> list[dict]:
        done = bench(*arguments)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_a_soak_of_twenty_tunnels_counts_both_ends_and_finds_nothing_down(self):
        line, = self.lines("--soak", "--tunnels", "20", "--seconds", "2", "--data", "200")
        self.assertEqual(line["name"], "keepalive.soak")
        self.assertEqual((line["tunnels"], line["per_second"], line["seconds"]), (20, 10, 2))
        self.assertEqual(line["false_down"], 0)
        self.assertEqual((line["up_urs"], line["up_dr"]), (20, 20))
        self.assertGreater(line["data_delivered"], 0)

    def test_restarts_are_timed_for_each_daemon(self):
        first, second = self.lines("--restart", "--tunnels", "20", "--rounds", "1", "--data", "400",
                                   "--seconds", "1")
        self.assertEqual((first["who"], second["who"]), ("dr-dataplane", "drd"))
        self.assertGreater(first["all_ms"], first["ready_ms"])
        self.assertEqual(second["false_down"], 0)

    def test_a_flood_is_compared_with_other_packets_that_are_dropped(self):
        line, = self.lines("--flood", "--tunnels", "20", "--rounds", "1", "--seconds", "1", "--no-huge",
                           "--kind", "source")
        self.assertEqual((line["name"], line["kind"]), ("keepalive.flood", "source"))
        self.assertGreater(line["flood_mpps"], 0)
        self.assertAlmostEqual(line["ratio"], line["forwarded_mpps"] / line["reference_mpps"], 2)
        self.assertEqual(line["false_down"], 0)

    def test_an_odd_number_of_tunnels_is_refused(self):
        done = bench("--soak", "--tunnels", "7")
        self.assertEqual(done.returncode, 2)
        self.assertIn("even", done.stderr)


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("needs root: DPDK")
        sys.exit(SKIPPED)
    unittest.main()
