#!/usr/bin/python3
"""scripts/bench tables: a small case, for its fields and for packets lost, not for its figures.

    tables_test.py BUILD_DIRECTORY
"""

import json
import os
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(sys.argv.pop(1) if len(sys.argv) > 1 else f"{ROOT}/build")
SKIPPED = 77
SUBSCRIBERS = 200


class Tables(unittest.TestCase):
    def test_all_parts_give_their_lines_and_no_change_or_restart_of_drd_loses_a_packet(self):
        # Small pages and any share of the core: a test may run beside anything.
        done = subprocess.run(
            [f"{ROOT}/scripts/bench", "tables", "--no-huge", "--share", "0", "--rounds", "1",
             "--seconds", "0.3", "--subscribers", str(SUBSCRIBERS), "--changed", "40", "--batch",
             "16", "--distinct", "500"],
            capture_output=True, text=True, check=False, env=os.environ | {"DR_BUILD": BUILD})
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([line["name"] for line in lines], ["tables.update", "tables.load",
                                                            "tables.update", "tables.resync",
                                                            "tables.resync"])
        southbound, load, api, drd, dataplane = lines
        self.assertEqual((southbound["path"], api["path"]), ("southbound", "api"))
        for line in (southbound, api, drd):
            self.assertEqual(line["packets_lost"], 0, line)
        for line in (southbound, api):
            self.assertGreater(line["upserts_per_s"], 0)
            self.assertGreater(line["mpps_quiet"], 0)
            self.assertGreater(line["mpps_busy"], 0)
        self.assertGreater(southbound["deletes_per_s"], 0)
        self.assertEqual((load["subscribers"], load["tunnels"]), (SUBSCRIBERS, 2 * SUBSCRIBERS))
        self.assertGreater(load["table_bytes_per_subscriber"], 64)
        self.assertGreater(load["rss_mib"], 0)
        self.assertEqual((drd["who"], dataplane["who"]), ("drd", "dr-dataplane"))
        for line in (load, drd, dataplane):
            self.assertGreater(line["seconds"], 0)


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("tables_test: needs root")
        sys.exit(SKIPPED)
    unittest.main(verbosity=2)
