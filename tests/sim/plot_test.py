#!/usr/bin/python3
"""Sums of the plot tool over parts of a run."""

import contextlib
import io
import json
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent))
import plot


def result(**more):
    return {"name": "sim", "scenario": "loss-5", "detector": "ours", "profile": "fixed",
            "tunnels": 20, "subscribers": 10, "hours": 72, "warmup_minutes": 0, "seed": 1,
            "downs": 1, "false_down": 1, "detections": 0, "undetected": 0, "detect_p50_ms": None,
            "detect_p99_ms": None, "detect_max_ms": None, "path_changes": 4,
            "path_changes_after_warmup": 3, "most_path_changes_in_an_hour": 2,
            "most_after_warmup_in_an_hour": 1, "last_usable_removed": 0,
            "without_path_s": 0.5} | more


class Plot(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def write(self, *results):
        path = self.folder / "results"
        path.write_text("".join(json.dumps(r) + "\n" for r in results), encoding="utf-8")
        return path

    def run_main(self, *arguments):
        with mock.patch.object(sys, "argv", ["plot", *map(str, arguments)]), \
                contextlib.redirect_stdout(io.StringIO()):
            plot.main()

    def test_parts_of_other_seeds_add_up_and_the_same_part_counts_once(self):
        cases = plot.load([self.write(result(), result(seed=2, most_path_changes_in_an_hour=5),
                                      result(seed=2, most_path_changes_in_an_hour=3))])
        case = cases["loss-5", "ours", "fixed"]
        self.assertEqual(case["tunnels"], 40)
        self.assertEqual(case["false_down"], 2)
        self.assertEqual(case["most_path_changes_in_an_hour"], 3)
        self.assertEqual(case["tunnel_hours"], 2880)

    def test_the_table_goes_between_its_marks_and_the_rest_of_the_page_stays(self):
        page = self.folder / "keepalive.md"
        page.write_text("# A\n<!-- results -->\nold\n<!-- end of results -->\nB\n",
                        encoding="utf-8")
        results = self.write(result(), result(detector="x-100x5", profile="", false_down=9))
        for _ in range(2):
            self.run_main("--directory", self.folder, results)
        text = page.read_text(encoding="utf-8")
        self.assertTrue(text.startswith("# A\n<!-- results -->"))
        self.assertTrue(text.endswith("<!-- end of results -->\nB\n"))
        self.assertNotIn("old", text)
        self.assertEqual(text.count("| loss-5 |"), 2)
        self.assertIn("**ours**, fixed | 20 × 72 | 1 | 17 |", text)
        self.assertIn("<svg", (self.folder / "keepalive.svg").read_text(encoding="utf-8"))

    def test_a_file_without_results_is_refused(self):
        with self.assertRaisesRegex(SystemExit, "no result"):
            plot.load([self.write({"name": "other"})])
        bad = self.folder / "bad"
        bad.write_text("{\n", encoding="utf-8")
        with self.assertRaisesRegex(SystemExit, "bad:1: no JSON"):
            plot.load([bad])


if __name__ == "__main__":
    unittest.main(verbosity=2)
