"""Commands: run them, and say what failed in words a person can act on."""

import subprocess
import time

from . import sanitizer


class LabError(Exception):
    """What went wrong, where, and what would be right; printed without a traceback."""


def run(args, *, check=True, timeout=60, stdin=None, text=True, env=None, cwd=None):
    """Runs a command without a shell; returns CompletedProcess with stdout and stderr captured."""
    args = [str(a) for a in args]
    try:
        done = subprocess.run(
            args,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=text,
            timeout=timeout,
            check=False,
            env=env,
            cwd=cwd,
        )
    except FileNotFoundError as error:
        raise LabError(f"{args[0]} is not installed: run scripts/deps") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"no end within {timeout} s: {' '.join(args)}") from error
    if done.returncode != 0 and text:
        sanitizer.look(args[0], done.stderr)
    if check and done.returncode != 0:
        output = (done.stderr or done.stdout) if text else done.stderr.decode(errors="replace")
        raise LabError(f"exit {done.returncode}: {' '.join(args)}\n{output.strip()}")
    return done


def wait_until(condition, what, *, seconds=10.0, interval=0.02):
    """Polls condition() until it is true and returns its value; LabError naming `what` otherwise."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise LabError(f"not within {seconds:g} s: {what}")
        time.sleep(interval)
