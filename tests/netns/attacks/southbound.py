"""Clients of the data plane's socket that mean it no good: too many, silent, talking nonsense; and
what a client tries with the memory that it was handed."""

import ctypes
import fcntl
import mmap
import os
import random
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

import southbound
from lablib.shell import wait_until

F_ADD_SEALS, F_SEAL_WRITE = 1033, 8
PUNCH_HOLE = 3  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE


class Crowd:
    """Connections: a third says nothing, a third nonsense, a third hello and then nothing."""

    def __init__(self, path, count):
        self.sockets = []
        for number in range(count):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.settimeout(5)
            # The queue of the listener may be full of the others.
            wait_until(lambda s=sock: s.connect_ex(str(path)) == 0, "a place in the queue",
                       interval=0.001)
            self.sockets.append(sock)
            said = [b"", random.randbytes(200), southbound.message(
                southbound.HELLO, southbound.struct.pack("<II", southbound.VERSION,
                                                         southbound.READER) + bytes(32))]
            try:
                sock.sendall(said[number % 3])
            except OSError:
                pass  # turned away already

    def turned_away(self):
        """How many the data plane has ended."""
        return sum(map(_ended, self.sockets))

    def close(self):
        for sock in self.sockets:
            sock.close()


def _ended(sock):
    sock.setblocking(False)
    try:
        while sock.recv(65536):
            pass
        return True
    except BlockingIOError:
        return False
    except OSError:
        return True


def memory(path, what):
    """The descriptor of "counters", "liveness" or "drops", as every client gets it, and its size."""
    client = southbound.Client(str(path), southbound.READER)
    ask, reply = {"counters": (southbound.GET_COUNTERS, southbound.COUNTERS_REPLY),
                  "liveness": (southbound.GET_LIVENESS, southbound.LIVENESS_REPLY),
                  "drops": (southbound.GET_DROPS, southbound.DROPS_REPLY)}[what]
    client.socket.sendall(southbound.message(ask))
    size, = southbound.struct.unpack_from("<Q", client.expect(reply))
    client.close()
    return client.descriptors.pop(), size


def _punch(descriptor):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.fallocate(descriptor, PUNCH_HOLE, ctypes.c_long(0), ctypes.c_long(4096)) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")


def _reopened(descriptor):
    again = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR)
    try:
        os.pwrite(again, b"x" * 64, 0)
    finally:
        os.close(again)


def attempts(descriptor, size):
    """{what was tried: None where it was refused, else what came of it}."""
    tried = {
        "writing": lambda: os.pwrite(descriptor, b"x" * 64, 0),
        "writing through a descriptor of its own": lambda: _reopened(descriptor),
        "mapping it writable": lambda: mmap.mmap(descriptor, size, mmap.MAP_SHARED,
                                                 mmap.PROT_READ | mmap.PROT_WRITE),
        "cutting it": lambda: os.ftruncate(descriptor, 0),
        "lengthening it": lambda: os.ftruncate(descriptor, 2 * size),
        "punching a hole": lambda: _punch(descriptor),
        "sealing it for its owner": lambda: fcntl.fcntl(descriptor, F_ADD_SEALS, F_SEAL_WRITE),
    }
    found = {}
    for what, attempt in tried.items():
        try:
            found[what] = f"done: {attempt()}"
        except OSError:
            found[what] = None
    return found
