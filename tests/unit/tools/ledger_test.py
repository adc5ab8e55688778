#!/usr/bin/env python3
"""Every requirement of proto/TUNNEL.md §14 names tests that exist, once, and every id is its own."""

import re
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def rows():
    text = (ROOT / "proto" / "TUNNEL.md").read_text(encoding="utf-8")
    ledger = text[text.index("## 14. Requirement ledger"):]
    for line in ledger.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if re.fullmatch(r"[A-Z]+[0-9]+", cells[0]):
            yield cells


def test_cases():
    names = set()
    for path in (ROOT / "tests" / "unit").rglob("*.cpp"):
        text = path.read_text(encoding="utf-8")
        for match in re.finditer(r'TEST_CASE\(\s*((?:"(?:[^"\\]|\\.)*"\s*)+)', text):
            names.add("".join(re.findall(r'"((?:[^"\\]|\\.)*)"', match.group(1))))
    return names


class Ledger(unittest.TestCase):
    def test_each_row_has_four_cells_and_an_id_of_its_own(self):
        ids = []
        for row in rows():
            self.assertEqual(len(row), 4, row)
            ids.append(row[0])
        self.assertGreaterEqual(len(ids), 40)
        self.assertEqual(sorted(set(ids)), sorted(ids))

    def test_each_test_that_is_named_exists(self):
        known = test_cases()
        self.assertGreater(len(known), 100)
        for identifier, _, *tests in rows():
            for name in tests:
                with self.subTest(id=identifier):
                    if name.startswith("`"):
                        case = ROOT / "pcap-fixtures" / name.strip("`") / "case.json"
                        self.assertTrue(case.is_file(), f"{identifier}: no packet case {name}")
                    elif not name.startswith("("):  # (as another row), (a fuzzer asserts it)
                        self.assertIn(name, known, f"{identifier}: no such test case")


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
