"""Starting, watching and ending the programs of a run. Everything lives in one temporary folder;
processes are ended by their id, always."""

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

START_SECONDS = 90  # generous: a loaded CI machine
END_SECONDS = 30

_running = set()
_folders = set()
_stopping = False
_lock = threading.RLock()  # a signal handler may come while it is held


class ProgramError(Exception):
    """A program did not start, failed, or ended by itself; the text quotes it."""


def temporary_folder() -> Path:
    """A folder for one run; discard_folder() or clean_up() removes it."""
    folder = Path(tempfile.mkdtemp(prefix="dr-replay-"))
    with _lock:
        _folders.add(folder)
    return folder


def discard_folder(folder: Path):
    shutil.rmtree(folder, ignore_errors=True)
    with _lock:
        _folders.discard(folder)


@atexit.register
def clean_up(and_folders=False):
    """The last resort, when a run is interrupted: ends what still runs, lets nothing more start."""
    global _stopping
    with _lock:
        _stopping = True
        for process in list(_running):
            if process.poll() is None:
                process.kill()
                process.wait()
        _running.clear()
        for folder in _folders if and_folders else ():
            shutil.rmtree(folder, ignore_errors=True)


def _start(command, folder, **streams):
    """Starts a program that is ended with this process, however that ends."""
    guard = [shutil.which("setpriv"), "--pdeathsig", "KILL", "--"]
    command = (guard if guard[0] else []) + [str(c) for c in command]
    with _lock:
        if _stopping:
            raise ProgramError("interrupted")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=folder, **streams)
        _running.add(process)
    return process


def _forget(process):
    with _lock:
        _running.discard(process)


class Program:
    """A daemon that prints `NAME: ready` when it may be used."""

    def __init__(self, name, command, folder: Path, number=1):
        """number: of its starts in this folder; each has a log of its own."""
        self.name = name
        self._log = folder / f"{name}-{number}.log"
        with open(self._log, "wb") as log:
            self._process = _start(command, folder, stdout=log, stderr=subprocess.STDOUT)

    def wait_ready(self):
        deadline = time.monotonic() + START_SECONDS
        while f"{self.name}: ready" not in self._text():
            self.check()
            if time.monotonic() > deadline:
                raise ProgramError(f"{self.name} is not ready after {START_SECONDS} s{self._tail()}")
            time.sleep(0.005)

    def check(self):
        """Raises when it has ended."""
        if self._process.poll() is not None:
            raise ProgramError(f"{self.name} ended with {_outcome(self._process.returncode)}"
                               f"{self._tail()}")

    def end(self):
        """SIGTERM, and the wait for a clean end."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(END_SECONDS)
            except subprocess.TimeoutExpired as error:
                raise ProgramError(f"{self.name} did not end within {END_SECONDS} s of SIGTERM"
                                   f"{self._tail()}") from error
        _forget(self._process)
        if self._process.returncode != 0:
            raise ProgramError(f"{self.name} ended with {_outcome(self._process.returncode)} "
                               f"on SIGTERM{self._tail()}")

    def kill(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        _forget(self._process)

    def _text(self):
        return self._log.read_text(errors="replace")

    def _tail(self):
        lines = self._text().strip().splitlines()[-12:]
        return "".join("\n    | " + line for line in lines)


def _outcome(code):
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


class Binaries:
    """Where the three programs are: in a build folder, or on PATH."""

    NAMES = ("dr-dataplane", "drd", "drcli")
    FOLDERS = {"dr-dataplane": "dataplane", "drd": "control", "drcli": "cli"}

    def __init__(self, build):
        root = Path(__file__).resolve().parents[2]
        if build is not None:
            places = [Path(build)]
        else:
            places = [Path(os.environ["DR_BUILD"])] if "DR_BUILD" in os.environ else []
            places.append(root / "build")
        self._paths = {name: self._find(name, places, build is None) for name in self.NAMES}

    def _find(self, name, places, use_path):
        for place in places:
            for file in (place / self.FOLDERS[name] / name, place / name, place / "bin" / name):
                if file.is_file() and os.access(file, os.X_OK):
                    return file.resolve()
        found = shutil.which(name) if use_path else None
        if found is None:
            raise ProgramError(f"{name} is neither in {' nor in '.join(map(str, places))}"
                               f"{' nor on PATH' if use_path else ''}: build it "
                               "(meson setup build && ninja -C build), or give --build DIR")
        return Path(found)

    def __getitem__(self, name):
        return self._paths[name]


def drcli(binaries, folder, socket, *arguments):
    """Runs drcli to its end; raises with its standard error when it fails."""
    what = " ".join(["drcli", *map(str, arguments)])
    process = _start([binaries["drcli"], "--server", f"unix:{socket}", *arguments], folder,
                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, err = process.communicate(timeout=START_SECONDS)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.communicate()
        raise ProgramError(f"{what}: no end after {START_SECONDS} s") from error
    finally:
        _forget(process)
    if process.returncode != 0:
        said = (err.strip() or out.strip())[-2000:]
        raise ProgramError(f"{what}: {_outcome(process.returncode)}: {said}")
