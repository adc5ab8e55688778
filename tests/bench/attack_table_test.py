#!/usr/bin/python3
"""The table of attacks: made of their results, and put between the markers of a document."""

import json
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

import attack_table as a


def result(attack, **changes):
    cost = {"before": {"rss_mib": 1.4, "fds": 3, "cpu": 0.0},
            "during": {"rss_mib": 2.6, "fds": 4, "cpu": 0.5}, "after": None}
    return {"name": "attacks", "attack": attack, "seconds": 1, "done": "done", "packets": 10,
            "lost": 1, "daemons": {"dr-dataplane": cost, "drd": cost, "urd": cost}, "lost_after": 0,
            "attach_s": 0.3, "status_p50_ms": 7, "status_max_ms": 9, "status_failed": 0} | changes


class Table(unittest.TestCase):
    def test_row(self):
        """a row has each daemon before, during and after, and says when one has ended"""
        row = a.table([result("icmp")]).splitlines()[-1]
        for text in ("1 / 3 / ended", "3 / 4 / ended", "0.0 / 0.5 / ended", "1 of 10", "7 / 9",
                     "(done)"):
            self.assertIn(text, row)

    def test_failures(self):
        """a site that did not attach and a status that failed are said"""
        row = a.table([result("icmp", attach_s=None, status_p50_ms=None, status_max_ms=None,
                              status_failed=2)]).splitlines()[-1]
        self.assertIn("not in time", row)
        self.assertIn("none, 2 failed", row)

    def test_document(self):
        """a document keeps all but what is between its markers"""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "security.md"
            path.write_text(f"before\n{a.BEGIN}\nold\n{a.END}\nafter\n", encoding="utf-8")
            a.document(path, [result("icmp")])
            text = path.read_text(encoding="utf-8")
            self.assertTrue(text.startswith("before\n") and text.endswith("\nafter\n"))
            self.assertNotIn("old", text)
            path.write_text("no markers", encoding="utf-8")
            with self.assertRaises(SystemExit):
                a.document(path, [])

    def test_load(self):
        """of an attack that was measured again the last result counts, in the order of attacks"""
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as lines:
            for one in (result("scan"), result("icmp", lost=5), result("icmp", lost=6)):
                lines.write(json.dumps(one) + "\n")
            lines.flush()
            found = a.load(lines.name)
        self.assertEqual([(r["attack"], r["lost"]) for r in found], [("icmp", 6), ("scan", 1)])


if __name__ == "__main__":
    unittest.main(verbosity=2)
