"""A reading client of dr-dataplane's socket (dataplane/southbound/protocol.h) and of its counters
(dataplane/southbound/counters.h). Little-endian structs, as there."""

import mmap
import os
import socket
import struct

VERSION = 6
READER = 0

HELLO, HELLO_REPLY, ERROR = 1, 2, 3
GET_STATE, STATE, GET_COUNTERS, COUNTERS_REPLY = 30, 31, 32, 33
ADVANCE_GATE = 37
GET_DROPS, DROPS_REPLY = 40, 41

_HEADER = struct.Struct("<IHH")
_TABLES = 9
_STATE = struct.Struct(f"<II16s32sQ{_TABLES}I{_TABLES}I3QII{24 * 48}s")
_RESULT = struct.Struct(f"<QIIQ{_TABLES}II160s")

COUNTERS_MAGIC = 0x3172746E63726400
DROPS_MAGIC = 0x3173706F72646400
DROP_SAMPLES, DROP_SAMPLE = 16, 160  # of an exit; bytes
EXIT_SLOTS = 128
PORT_SLOTS = 16


class SouthboundError(Exception):
    """The data plane refused, or the conversation broke."""


class Client:
    """One connection, as a reader."""

    def __init__(self, path, timeout: float):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            raise SouthboundError(f"{path}: {error.strerror}") from error
        build = b"scripts/replay"
        self._call(HELLO, struct.pack("<II32s", VERSION, READER, build), HELLO_REPLY)

    def close(self):
        self._socket.close()

    def advance_gate(self, step: int):
        """Receive queues below `step` of the gated ports are polled from now on."""
        self._call(ADVANCE_GATE, struct.pack("<II", step, 0), STATE)

    def epoch(self) -> int:
        """The number of the last commit."""
        fields = _STATE.unpack_from(self._call(GET_STATE, b"", STATE))
        return fields[4]

    def counters(self) -> "Counters":
        return Counters(self._memory(GET_COUNTERS, COUNTERS_REPLY))

    def noted_exits(self) -> set:
        """Numbers of the exits of which a dropped packet is noted (dataplane/southbound/drops.h)."""
        with self._memory(GET_DROPS, DROPS_REPLY) as memory:
            head = struct.Struct("<QIIII16sQQ").unpack_from(memory)
            magic, version, workers, exits, _, _, samples, stride = head
            if magic != DROPS_MAGIC or version != 1:
                raise SouthboundError(f"notes of drops: magic {magic:#x}, version {version}")
            return {e for w in range(workers) for e in range(exits) if struct.unpack_from(
                "<Q", memory, samples + w * stride + e * DROP_SAMPLES * DROP_SAMPLE)[0]}

    def _memory(self, ask, reply) -> mmap.mmap:
        body, fds = self._call(ask, b"", reply, want_fd=True)
        size = struct.unpack_from("<Q", body)[0]
        if not fds:
            raise SouthboundError(f"message type {ask} was answered without a file descriptor")
        try:
            return mmap.mmap(fds[0], size, mmap.MAP_SHARED, mmap.PROT_READ)
        finally:
            for fd in fds:
                os.close(fd)

    def _call(self, kind, body, reply, want_fd=False):
        self._socket.sendall(_HEADER.pack(len(body), kind, 0) + body)
        head, fds = self._receive(_HEADER.size)
        length, got, _ = _HEADER.unpack(head)
        payload, more = self._receive(length)
        if got == ERROR:
            text = _RESULT.unpack_from(payload)[-1].split(b"\0")[0].decode(errors="replace")
            raise SouthboundError(text)
        if got != reply:
            raise SouthboundError(f"message type {got} where {reply} was due")
        return (payload, fds + more) if want_fd else payload

    def _receive(self, size):
        data, fds = b"", []
        while len(data) < size:
            chunk, received, _, _ = socket.recv_fds(self._socket, size - len(data), 4)
            fds += received
            if not chunk:
                raise SouthboundError("the data plane closed the connection")
            data += chunk
        return data, fds


class Counters:
    """The mapped counters. Every word has one writer, so that a plain read is never torn."""

    _HEAD = struct.Struct("<QIIIIII16sQQQQQQ")
    _EXIT_NAME, _PORT_NAME = 32 + 96, 32

    def __init__(self, memory: mmap.mmap):
        self._memory = memory
        (magic, version, self._workers, exits, ports, _, _, _, exit_names, port_names,
         self._blocks, self._stride, _, _) = self._HEAD.unpack_from(memory)
        if magic != COUNTERS_MAGIC or version != 1:
            raise SouthboundError(f"counters: magic {magic:#x}, version {version}")
        self.exits = [self._text(exit_names + n * self._EXIT_NAME) for n in range(exits)]
        self.ports = [self._text(port_names + n * self._PORT_NAME) for n in range(ports)]

    def close(self):
        self._memory.close()

    def _text(self, offset):
        return self._memory[offset:offset + 32].split(b"\0")[0].decode()

    def _words(self, offset, count):
        """Sums over the workers of `count` words at an offset of the worker's block."""
        total = [0] * count
        for worker in range(self._workers):
            at = self._blocks + worker * self._stride + offset
            for n, word in enumerate(struct.unpack_from(f"<{count}Q", self._memory, at)):
                total[n] += word
        return total

    def snapshot(self) -> dict:
        """All exits, and port.NAME.{rx,tx}_{packets,bytes}."""
        values = dict(zip(self.exits, self._words(0, len(self.exits))))
        for n, name in enumerate(self.ports):
            words = self._words(EXIT_SLOTS * 8 + n * 32, 4)
            for what, word in zip(("rx_packets", "rx_bytes", "tx_packets", "tx_bytes"), words):
                values[f"port.{name}.{what}"] = word
        return values

    def idle_polls(self) -> int:
        """Rounds in which the slowest worker found nothing to do."""
        offset = EXIT_SLOTS * 8 + PORT_SLOTS * 32 + 16
        polls = []
        for worker in range(self._workers):
            at = self._blocks + worker * self._stride + offset
            polls.append(struct.unpack_from("<Q", self._memory, at)[0])
        return min(polls)
