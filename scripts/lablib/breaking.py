"""Faults of a running dr-dataplane that no packet can cause: done to it from outside, by root."""

import ctypes
import mmap
import os
import socket
import struct
from contextlib import contextmanager

from .shell import LabError, wait_until

AF_XDP, SOL_XDP, XDP_MMAP_OFFSETS = 44, 283, 1
FILL_RING = 0x100000000
SYS_PIDFD_OPEN, SYS_PIDFD_GETFD = 434, 438
PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207

libc = ctypes.CDLL(None, use_errno=True)


def _call(what, result):
    if result < 0:
        number = ctypes.get_errno()
        raise LabError(f"{what}: {os.strerror(number)}")
    return result


def xdp_sockets(pid):
    """The AF_XDP sockets of another process, as descriptors of this one, in the order of theirs."""
    process = _call("pidfd_open", libc.syscall(SYS_PIDFD_OPEN, pid, 0))
    found = []
    try:
        for fd in sorted(int(name) for name in os.listdir(f"/proc/{pid}/fd")):
            if not os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:"):
                continue
            own = _call("pidfd_getfd", libc.syscall(SYS_PIDFD_GETFD, process, fd, 0))
            domain = socket.socket(AF_XDP, socket.SOCK_RAW, 0, fileno=os.dup(own))
            with domain:
                is_xdp = domain.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN) == AF_XDP
            if is_xdp:
                found.append(own)
            else:
                os.close(own)
    finally:
        os.close(process)
    return found


def spoil_fill_ring(pid, number):
    """Each buffer in the fill ring of the number-th AF_XDP socket becomes one that the kernel
    refuses: it takes them all out with the next packet, and the ring is empty for good."""
    sockets = xdp_sockets(pid)
    try:
        own = socket.socket(AF_XDP, socket.SOCK_RAW, 0, fileno=os.dup(sockets[number]))
        with own:
            offsets = struct.unpack("=16Q", own.getsockopt(SOL_XDP, XDP_MMAP_OFFSETS, 128))
        entries = 4096
        desc = offsets[8 + 2]  # rx, tx, fill, completion: producer, consumer, desc, flags
        ring = mmap.mmap(sockets[number], desc + entries * 8, offset=FILL_RING)
        ring[desc:desc + entries * 8] = struct.pack("=Q", (1 << 47)) * entries
        ring.close()
    finally:
        for own in sockets:
            os.close(own)


def thread_named(pid, prefix):
    """The id of a process's thread whose name begins so."""
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/comm", encoding="ascii") as name:
            if name.read().startswith(prefix):
                return int(tid)
    raise LabError(f"process {pid} has no thread {prefix}")


@contextmanager
def thread_stopped(tid):
    """One thread stands still, the others of its process go on."""
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    _call("ptrace", libc.ptrace(PTRACE_SEIZE, tid, None, None))
    _call("ptrace", libc.ptrace(PTRACE_INTERRUPT, tid, None, None))
    wait_until(lambda: os.waitpid(tid, os.WNOHANG | 0x40000000)[0] == tid,  # __WALL
               f"thread {tid} stopped")
    try:
        yield
    finally:
        _call("ptrace", libc.ptrace(PTRACE_DETACH, tid, None, None))
