"""How a profile is read and how counts are judged, without valgrind."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from judge import judge, limit
from measure import bursts
from profile_reader import Profile

MARGIN = {"stage_percent": 8, "stage_instructions": 3, "all_percent": 5}
CASE = {"label": "downlink-gre-udp-4-4-64", "direction": "downlink", "encapsulation": "gre-udp",
        "outer": 4, "inner": 4, "burst": 64, "instructions_per_packet": 100.0,
        "stages": {"parse": 60.0, "lookup": 40.0}}
BASELINE = {"stage parse": 60.0, "stage lookup": 40.0, "all stages": 100.0}

# poll 10 of its own, run_stages 5; parse 30, of which 20 in a helper that was split off;
# lookup 40 and, by a tail call of its own, transmit 15.
PROFILE = """\
desc: Trigger: Client Request: some-case
fn=(1) dr::Worker::poll()
0 10
cfn=(2) dr::(anonymous namespace)::run_stages(dr::Context&)
calls=1 0
0 90
fn=(2)
0 5
cfn=(3) dr::stage_parse(dr::Context&, dr::Burst&)
calls=1 0
0 30
cfn=(4) dr::stage_lookup(dr::Context&, dr::Burst&)
calls=1 0
0 55
fn=(3)
0 7
+2 3
cfn=(5) dr::stage_parse(dr::Context&, dr::Burst&) [clone .part.0]
calls=1 0
0 20
fn=(5)
0 20
fn=(4)
0 40
cfn=(6) dr::stage_transmit(dr::Context&, dr::Burst&, dr::Burst&)
calls=1 0
0 15
fn=(6)
0 15
fn=(7) main
0 999
"""


def verdicts(case, kept=None):
    return {sentence.split(", ")[2].split(":")[0]: (status, remark)
            for status, sentence, remark in judge(case, kept or BASELINE, MARGIN)}


class Reading(unittest.TestCase):
    def test_stages(self):
        """a stage costs what it and its helpers execute, without the stages that it calls"""
        profile = Profile(PROFILE.splitlines())
        self.assertEqual(profile.label, "some-case")
        self.assertEqual(profile.stages(),
                         {"receive": 15, "parse": 30, "lookup": 40, "transmit": 15})

    def test_stripped(self):
        """a profile without names is refused"""
        with self.assertRaisesRegex(ValueError, "stripped"):
            Profile(["fn=(1) 0x1234", "0 10"]).stages()

    def test_bursts(self):
        """the fixed cost of a burst is what bursts of 1 cost beyond a packet of a full burst"""
        # 200 a burst and 100 a packet.
        cases = [CASE | {"burst": n, "instructions_per_packet": (200 + 100 * n) / n}
                 for n in (1, 8, 64)]
        [line] = bursts(cases)
        self.assertEqual((line["per_burst"], line["per_packet"]), (200.0, 100.0))
        self.assertEqual(line["instructions_per_packet"]["8"], 125.0)


class Judging(unittest.TestCase):
    def test_same(self):
        """counts equal to the baseline's pass without a remark"""
        self.assertEqual(set(verdicts(CASE).values()), {("pass", "")})

    def test_limits(self):
        """the limit is 8 %, yet at least 3 instructions, above a stage; 5 % above all of them"""
        self.assertEqual(limit("stage parse", 60.0, MARGIN), 64.8)
        self.assertEqual(limit("stage steer", 10.0, MARGIN), 13.0)
        self.assertEqual(limit("all stages", 100.0, MARGIN), 105.0)

    def test_slower(self):
        """a stage beyond its margin fails, and the others do not"""
        slower = CASE | {"stages": {"parse": 64.9, "lookup": 40.0}}
        self.assertEqual(verdicts(slower)["stage parse"],
                         ("FAIL", "+4.9 from the baseline's 60.0"))
        self.assertEqual(verdicts(slower)["stage lookup"], ("pass", ""))
        self.assertEqual(verdicts(CASE | {"stages": {"parse": 64.8, "lookup": 40.0}})
                         ["stage parse"], ("pass", ""))

    def test_whole(self):
        """stages that all grew a little fail as a whole"""
        self.assertEqual(verdicts(CASE | {"instructions_per_packet": 105.1})["all stages"][0],
                         "FAIL")

    def test_faster(self):
        """an improvement beyond the margin passes, and is reported"""
        self.assertEqual(verdicts(CASE | {"stages": {"parse": 50.0, "lookup": 40.0}})
                         ["stage parse"], ("pass", "better: -10.0 from the baseline's 60.0"))

    def test_unknown(self):
        """a stage that came or went, and a case that the baseline does not know, fail"""
        moved = verdicts(CASE | {"stages": {"parse": 60.0, "fused": 40.0}})
        self.assertEqual(moved["stage lookup"][0], "FAIL")
        self.assertEqual(moved["stage fused"][0], "FAIL")
        self.assertEqual([status for status, _, _ in judge(CASE, None, MARGIN)], ["FAIL"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
