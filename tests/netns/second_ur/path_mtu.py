"""What a tunnel carries in the direction in which it sends, TUNNEL.md §15."""

import secrets

START, CONTROL = 1280, 1024
TRIES, CONTROLS = 5, 4
OUTER = (1500, 1492, 1480, 1454, 1440, 1420, 1400, 1358, 1280)
FIRST_AGAIN, LAST_AGAIN = 10.0, 600.0


class PathMtu:
    """`limit`: the largest size allowed; `headers`: of the outer packet, bytes."""

    def __init__(self, limit, headers):
        self.limit, self.headers = max(limit, CONTROL), headers
        self.size = min(START, limit)
        self.token = 0  # 0: no search is under way
        self.due = None  # the next try, or the next search
        self.wait = 0.0
        self.confirmed = float("-inf")

    def search(self, now):
        self.begin(now, self.limit)

    def confirm(self, now):
        if not self.token and now >= self.confirmed + 1:
            self.confirmed = now
            self.begin(now, self.size)

    def begin(self, now, first):
        self.token = secrets.randbits(64) or 1
        self.low, self.high, self.lowered = 0, self.limit + 1, False
        self.enter(lambda: [first], 1, now)
        self.next_step = self.common

    def stop(self):
        self.token, self.due = 0, None

    def enter(self, sizes, tries, now):
        self.sizes, self.left, self.controls, self.due = sizes, tries, 0, now

    def common(self, now):
        def sizes():
            between = {s for s in (self.size, *(o - self.headers for o in OUTER))
                       if self.low < s < self.high}
            return sorted(between | {CONTROL}, reverse=True)
        self.enter(sizes, TRIES, now)
        self.next_step = self.after_common

    def split(self, now):
        bottom, step = self.low, -(-(self.high - self.low) // 9)
        self.enter(lambda: [s for s in range(bottom + step, self.high, step) if s > self.low],
                   TRIES, now)
        self.next_step = self.narrow

    def after_common(self, now):
        if self.controls < CONTROLS and self.low < self.size:
            return self.end(now, found=False)
        return self.narrow(now)

    def narrow(self, now):
        self.high = min([s for s in self.sizes() if s > self.low] + [self.high])
        if not self.low:
            return self.end(now, found=False)
        if self.low < self.size:
            self.size, self.lowered = self.low, True
        if self.high - self.low > 1:
            return self.split(now)
        return self.end(now, found=True)

    def end(self, now, found):
        self.token, self.due = 0, None
        if found and self.size >= self.limit:
            return
        grown = min(3 * self.wait, LAST_AGAIN)
        self.wait = grown if found and self.wait and not self.lowered else FIRST_AGAIN
        self.due = now + self.wait

    def run(self, now, gap):
        """The sizes to probe now."""
        if self.due is None or now < self.due:
            return []
        if not self.token:
            self.search(now)
        elif not self.left:
            self.next_step(now)
        if not self.token:
            return []
        self.left -= 1
        self.due = now + gap
        return self.sizes()

    def acknowledged(self, token, size, now):
        if not self.token or token != self.token:
            return
        self.controls += size == CONTROL
        if not self.low < size < self.high:
            return
        self.low = size
        self.size = max(self.size, size)
        if self.next_step == self.common or self.low + 1 == self.high:
            self.end(now, found=True)
