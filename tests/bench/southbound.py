"""The southbound socket of dr-dataplane (dataplane/southbound/protocol.h), spoken by a benchmark.

A Client provisions or only reads; a CountersView reads the counters memfd, which costs the data
plane nothing.
"""

import array
import mmap
import os
import select
import socket
import struct

VERSION = 6
READER, PROVISIONER = 0, 1
FORCE = 1
MAX_OUTSTANDING = 4
HELLO, HELLO_REPLY, ERROR = 1, 2, 3
TXN_BEGIN, TXN_COMMIT, TXN_RESULT = 10, 11, 13
UPSERT_POOL, UPSERT_POLICY, UPSERT_SUBSCRIBER, DELETE_SUBSCRIBER = 20, 22, 24, 25
GET_COUNTERS, COUNTERS_REPLY = 32, 33
STATE, ADVANCE_GATE = 31, 37
GET_LIVENESS, LIVENESS_REPLY = 38, 39
GET_DROPS, DROPS_REPLY = 40, 41
RESULT_TEXT = 160


def message(kind: int, body: bytes = b"") -> bytes:
    return struct.pack("<IHH", len(body), kind, 0) + body


def line_name(name: str) -> bytes:
    return name.encode().ljust(32, b"\0")


def address(raw: bytes) -> bytes:
    return raw.ljust(16, b"\0")


def pool(number: int, raw: bytes, length: int) -> bytes:
    body = struct.pack("<IBBBB", number, 4 if len(raw) == 4 else 6, length, 0, 0) + address(raw)
    return message(UPSERT_POOL, body)


def policy(number: int, lines: dict[str, int]) -> bytes:
    """One class without limits, one tier; lines: weight by name."""
    limits = struct.pack("<HHHBB", 0, 0, 0, 0, 0)
    records = b"".join(line_name(line) + struct.pack("<BBBB", 0, 0, weight, at)
                       for at, (line, weight) in enumerate(lines.items()))
    header = struct.pack("<IHHHH", number, len(lines), 60, 0, 1)
    return message(UPSERT_POLICY, header + limits + records)


def subscriber(number: int, seed: int, prefixes: list[tuple[bytes, int]],
               tunnels: list[tuple[int, bool, bytes, bytes, str]], mtu: int) -> bytes:
    """prefixes: (address, length); tunnels: (id, in UDP, local, remote, line)."""
    body = [struct.pack("<IIIHH", number, 1, seed, len(prefixes), len(tunnels))]
    for raw, length in prefixes:
        body.append(struct.pack("<BBH", 4 if len(raw) == 4 else 6, length, 0) + address(raw))
    for tunnel, udp, local, remote, line in tunnels:
        body.append(struct.pack("<IBBHHH", tunnel, 2 if udp else 1, 4 if len(local) == 4 else 6, 0,
                                mtu, 0) + address(local) + address(remote) + line_name(line))
    return message(UPSERT_SUBSCRIBER, b"".join(body))


def deletion(number: int) -> bytes:
    return message(DELETE_SUBSCRIBER, struct.pack("<II", number, 0))


def transaction(records: list[bytes]) -> bytes:
    return (message(TXN_BEGIN, struct.pack("<Q", 0)) + b"".join(records) +
            message(TXN_COMMIT, struct.pack("<II", FORCE, 0)))


class Client:
    def __init__(self, path: str, role: int):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)
        self.pending = b""
        self.outstanding = 0
        self.descriptors: list[int] = []
        self.socket.sendall(message(HELLO, struct.pack("<II", VERSION, role) + bytes(32)))
        self.expect(HELLO_REPLY)

    def receive(self) -> tuple[int, bytes]:
        while True:
            if len(self.pending) >= 8:
                length, kind, _ = struct.unpack_from("<IHH", self.pending)
                if len(self.pending) >= 8 + length:
                    body, self.pending = self.pending[8:8 + length], self.pending[8 + length:]
                    return kind, body
            data, ancillary, _, _ = self.socket.recvmsg(1 << 16, socket.CMSG_SPACE(4))
            if not data:
                raise SystemExit("bench: dr-dataplane closed the southbound connection")
            for level, kind, content in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    self.descriptors.extend(array.array("i", content[:4]))
            self.pending += data

    def expect(self, wanted: int) -> bytes:
        kind, body = self.receive()
        if kind != wanted:
            raise SystemExit(f"bench: dr-dataplane answers with message {kind}, not {wanted}: " +
                             text_of(body))
        return body

    def result(self) -> None:
        body = self.expect(TXN_RESULT)
        self.outstanding -= 1
        status, = struct.unpack_from("<I", body, 8)
        if status != 0:
            raise SystemExit(f"bench: dr-dataplane refuses a transaction: {text_of(body)}")

    def commit(self, blob: bytes) -> None:
        """Sends a transaction; waits only when too many are unanswered."""
        while self.outstanding >= MAX_OUTSTANDING:
            self.result()
        self.socket.sendall(blob)
        self.outstanding += 1

    def settle(self) -> None:
        while self.outstanding > 0:
            self.result()

    def idle(self, seconds: float) -> None:
        select.select([], [], [], max(0.0, seconds))

    def counters(self) -> "CountersView":
        self.socket.sendall(message(GET_COUNTERS))
        size, = struct.unpack_from("<Q", self.expect(COUNTERS_REPLY))
        return CountersView(self.descriptors.pop(), size)

    def advance_gate(self, step: int) -> None:
        self.socket.sendall(message(ADVANCE_GATE, struct.pack("<II", step, 0)))
        self.expect(STATE)

    def liveness(self) -> "LivenessView":
        self.socket.sendall(message(GET_LIVENESS))
        size, = struct.unpack_from("<Q", self.expect(LIVENESS_REPLY))
        return LivenessView(self.descriptors.pop(), size)

    def close(self) -> None:
        self.socket.close()


def text_of(body: bytes) -> str:
    return body[-RESULT_TEXT:].split(b"\0")[0].decode(errors="replace")


class CountersView:
    """The exits of dr-dataplane, summed over its workers (dataplane/southbound/counters.h)."""

    NAME_AND_HELP = 32 + 96

    def __init__(self, descriptor: int, size: int):
        self.memory = mmap.mmap(descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ)
        os.close(descriptor)
        _, _, self.workers, exits, _, _, _, _, names, _, self.blocks, self.stride, _, _ = (
            struct.unpack_from("<QIIIIII16sQQQQQQ", self.memory))
        self.names = [self.name(names + n * self.NAME_AND_HELP) for n in range(exits)]

    def name(self, at: int) -> str:
        return self.memory[at:at + 32].split(b"\0")[0].decode()

    def exits(self) -> dict[str, int]:
        total = [0] * len(self.names)
        for worker in range(self.workers):
            at = self.blocks + worker * self.stride
            values = struct.unpack_from(f"<{len(total)}Q", self.memory, at)
            total = [a + b for a, b in zip(total, values)]
        return dict(zip(self.names, total))

    def forwarded(self) -> int:
        return sum(n for name, n in self.exits().items() if name.startswith("forwarded."))

    def not_forwarded(self) -> int:
        return sum(n for name, n in self.exits().items() if not name.startswith("forwarded."))

    def close(self) -> None:
        self.memory.close()


class LivenessView:
    """What the liveness threads know (dataplane/southbound/liveness_memfd.h)."""

    STATISTICS = ("sent received malformed unknown_key bad_tag replayed unknown_salt other_source "
                  "challenges_sent challenges_limited answers_refused adopted_salts "
                  "adopted_endpoints ups downs false_downs").split()
    STATISTICS_AT = 72
    ROW = struct.Struct("<IIIIB")  # sequence, reserved, tunnel, subscriber, state
    ROW_BYTES = 192
    UP = 3

    def __init__(self, descriptor: int, size: int):
        self.memory = mmap.mmap(descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ)
        os.close(descriptor)
        self.slots, = struct.unpack_from("<I", self.memory, 12)
        self.rows, = struct.unpack_from("<Q", self.memory, 40)

    def statistics(self) -> dict[str, int]:
        values = struct.unpack_from(f"<{len(self.STATISTICS)}Q", self.memory, self.STATISTICS_AT)
        return dict(zip(self.STATISTICS, values))

    def up(self) -> int:
        """Tunnels whose row says so now."""
        rows = (self.ROW.unpack_from(self.memory, self.rows + slot * self.ROW_BYTES)
                for slot in range(self.slots))
        return sum(1 for _, _, tunnel, _, state in rows if tunnel != 0 and state == self.UP)

    def close(self) -> None:
        self.memory.close()
