"""What a running process may do, as /proc tells of each of its threads; and a user for `--user`."""

import os
from pathlib import Path

CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_IPC_LOCK": 14, "CAP_PERFMON": 38,
                "CAP_BPF": 39}


def mask(*names):
    return sum(1 << CAPABILITIES[name] for name in names)


def threads(pid):
    """For each thread of a process its `status` as a dictionary, with its name as "Name"."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            lines = (task / "status").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        found.append(dict(line.split(":", 1) for line in lines if ":" in line))
    return found


def wrong(pid, *, kept, uid, gid):
    """What differs from a process that may do `kept` (a mask) and nothing else; a list of texts."""
    every = threads(pid)
    faults = [] if every else ["it has no thread"]
    for status in every:
        name = status["Name"].strip()
        for field in ("CapPrm", "CapEff"):
            if int(status[field], 16) != kept:
                faults.append(f"{name}: {field} is {status[field].strip()}, not {kept:016x}")
        for field in ("CapInh", "CapBnd", "CapAmb"):
            if int(status[field], 16) != 0:
                faults.append(f"{name}: {field} is {status[field].strip()}, not empty")
        if status["NoNewPrivs"].strip() != "1":
            faults.append(f"{name}: it may gain privileges")
        for field, wanted in (("Uid", uid), ("Gid", gid)):
            if status[field].split() != [str(wanted)] * 4:
                faults.append(f"{name}: {field} is {status[field].strip()}, not {wanted}")
        if status["Groups"].split() not in ([], [str(gid)]):
            faults.append(f"{name}: it has the groups {status['Groups'].strip()}")
    return faults


def core_limits(pid):
    """The soft and the hard limit of a core dump, as text."""
    for line in Path(f"/proc/{pid}/limits").read_text().splitlines():
        if line.startswith("Max core file size"):
            return line.split()[4:6]
    return None


def is_dumpable(pid, uid, gid):
    """Whether other processes of the same user may read its memory. The kernel tells by the owner
    of its files: the process's own ids, or root's. Nothing tells for a process with root's ids."""
    assert (uid, gid) != (0, 0)
    status = os.stat(f"/proc/{pid}/environ")
    return (status.st_uid, status.st_gid) == (uid, gid)


class OwnUser:
    """A command line that runs a program as root where a user `name` exists, and only there: a
    mount namespace of its own has another /etc/passwd and /etc/group."""

    def __init__(self, directory, name, uid):
        self.name = name
        self.uid = uid
        self.files = {}
        for file, line in (("passwd", f"{name}:x:{uid}:{uid}::/:/usr/sbin/nologin\n"),
                           ("group", f"{name}:x:{uid}:\n")):
            self.files[file] = Path(directory) / file
            self.files[file].write_text(Path("/etc", file).read_text() + line)

    def command(self, args):
        mounts = " && ".join(f"mount --bind {source} /etc/{file}"
                             for file, source in self.files.items())
        return ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh", *args]
