#!/usr/bin/env python3
"""The clients in Python speak the version of dataplane/southbound/protocol.h."""

import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def number(file, pattern):
    found = re.search(pattern, (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    return int(found.group(1)) if found else None


class Versions(unittest.TestCase):
    def test_clients_speak_the_version_of_the_protocol(self):
        spoken = number("dataplane/southbound/protocol.h", r"kVersion = ([0-9]+);")
        self.assertIsNotNone(spoken)
        for client in ["scripts/replaylib/southbound.py", "tests/bench/southbound.py"]:
            with self.subTest(client):
                self.assertEqual(number(client, r"^VERSION = ([0-9]+)$"), spoken)


if __name__ == "__main__":
    unittest.main()
