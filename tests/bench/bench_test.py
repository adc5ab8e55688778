#!/usr/bin/python3
"""scripts/bench datapath and plot: a tiny case, for its fields and not for its figures.

    bench_test.py BUILD_DIRECTORY
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(sys.argv.pop(1) if len(sys.argv) > 1 else f"{ROOT}/build")
SKIPPED = 77
FIELDS = {"name": str, "direction": str, "encapsulation": str, "outer": int, "inner": int,
          "subscribers": int, "packet": str, "mpps": float, "mpps_best": float,
          "cycles_per_packet": float, "reference": str, "reference_mpps": float, "ratio": float,
          "rounds": int, "core_probe": float, "stages": dict}
DOWNLINK = {"receive", "parse", "lookup", "steer", "encapsulate", "transmit"}
UPLINK = {"receive", "parse", "lookup", "decapsulate", "forward", "transmit"}


def bench(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([f"{ROOT}/scripts/bench", *arguments], capture_output=True, text=True,
                          check=False, env=os.environ | {"DR_BUILD": BUILD})


class Bench(unittest.TestCase):
    def test_both_directions_of_ten_subscribers_give_a_line_each_with_all_fields_and_a_plot(self):
        with tempfile.TemporaryDirectory(prefix="dr-bench-test-") as work:
            # Small pages and any share of the core: a test may run beside anything.
            done = bench("datapath", "--no-huge", "--share", "0", "--rounds", "1", "--seconds", "0.2",
                         "--subscribers", "10", "--distinct", "500", "--packet", "64",
                         "--encapsulation", "gre-udp", "--direction", "downlink", "--direction",
                         "mixed", "--json", f"{work}/results.jsonl")
            self.assertEqual(done.returncode, 0, done.stderr)
            lines = [json.loads(line) for line in done.stdout.splitlines()]
            self.assertEqual([line["direction"] for line in lines], ["downlink", "mixed"])
            for line in lines:
                for field, kind in FIELDS.items():
                    self.assertIsInstance(line[field], kind, field)
                self.assertGreater(line["mpps"], 0)
                self.assertGreater(line["reference_mpps"], 0)
                self.assertAlmostEqual(line["ratio"], line["mpps"] / line["reference_mpps"], 1)
            self.assertLessEqual(DOWNLINK, set(lines[0]["stages"]))
            self.assertLessEqual(DOWNLINK | UPLINK, set(lines[1]["stages"]))

            drawn = bench("plot", f"{work}/results.jsonl", "--directory", work, "--encapsulation",
                          "gre-udp")
            self.assertEqual(drawn.returncode, 0, drawn.stderr)
            xml.parse(f"{work}/speed.svg")
            with open(f"{work}/speed.md", encoding="utf-8") as f:
                self.assertIn(f"**{lines[0]['ratio']}**", f.read())

    def test_results_that_are_none_are_refused_with_their_line(self):
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
            f.write('{"name": "datapath"\n')
            f.flush()
            refused = bench("plot", f.name)
        self.assertEqual(refused.returncode, 1)
        self.assertIn(f"{f.name}:1: no JSON", refused.stderr)


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("bench_test: needs root")
        sys.exit(SKIPPED)
    unittest.main(verbosity=2)
