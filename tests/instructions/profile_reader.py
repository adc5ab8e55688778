"""Reads what callgrind wrote: the inclusive cost of functions, and of the pipeline's stages.

The format is in valgrind's manual, "Callgrind Format Specification". A cost line is "POSITION COST",
and counts for the function of the last `fn=`; the cost line after `calls=` is inclusive, and is
that of the calls from this function to the one of the last `cfn=`.
"""

import re
from collections import defaultdict

# A whole function, not a part of one that the compiler split off ("[clone .part.0]").
STAGE = re.compile(r"(?:^|:)stage_(\w+)\([^\[]*$")
POLL = re.compile(r"(?:^|:)Worker::poll\([^\[]*$")
ORDER = ["receive", "parse", "lookup", "decapsulate", "steer", "encapsulate", "forward", "icmp",
         "transmit"]
TRIGGER = "desc: Trigger: Client Request: "


class Profile:
    """label: that of the dump; calls: {(caller, callee): instructions}, both by name."""

    def __init__(self, lines):
        self.label = ""
        self.own = defaultdict(int)
        self.calls = defaultdict(int)
        self._names = {}
        function = callee = None
        is_call = False
        for line in lines:
            line = line.strip()
            if line.startswith("fn="):
                function = self._name(line[3:])
            elif line.startswith("cfn="):
                callee = self._name(line[4:])
            elif line.startswith("calls="):
                is_call = True
            elif line.startswith(TRIGGER):
                self.label = line[len(TRIGGER):]
            elif line[:1] in "+-*0123456789" and line:
                cost = int((line.split() + ["0"])[1])
                if is_call:
                    self.calls[function, callee] += cost
                else:
                    self.own[function] += cost
                is_call = False

    def _name(self, text):
        number, _, name = text.partition(" ")
        return self._names.setdefault(number, name or number)

    def inclusive(self, function):
        return self.own[function] + sum(
            cost for (caller, callee), cost in self.calls.items()
            if caller == function and callee != function)

    def _matching(self, pattern):
        functions = set(self.own) | {f for edge in self.calls for f in edge}
        return [(f, match) for f in functions if (match := pattern.search(f))]

    def stages(self):
        """{stage: instructions}: each without the stages that it calls itself.

        `receive` is the rest of a poll: the loop and the port's receive function. `transmit`
        contains the port's transmit function.
        """
        stages = {f: match[1] for f, match in self._matching(STAGE)}
        polls = self._matching(POLL)
        if len(polls) != 1 or not stages:
            raise ValueError("the profile has no Worker::poll() and stages: were symbols stripped?")
        costs = {}
        for function, name in sorted(stages.items()):
            nested = sum(cost for (caller, callee), cost in self.calls.items()
                         if caller == function and callee in stages and callee != function)
            costs[name] = costs.get(name, 0) + self.inclusive(function) - nested
        whole = self.inclusive(polls[0][0])
        costs["receive"] = whole - sum(costs.values())
        return dict(sorted(costs.items(), key=lambda item: (
            ORDER.index(item[0]) if item[0] in ORDER else len(ORDER), item[0])))
