"""A longer way for one ISP of the lab that is kept: a link emulator between it and the exchange.

The kernel may have no netem. So at the exchange the ISP's cable leaves the bridge, and the emulator
(tests/linkem) carries frames between both; no cable is pulled, and the site's lines stay up.
"""

from .linkem import LinkEmulator
from .netns import without_offloads
from .process import Process
from .shell import LabError, run


def _name(line):
    return f"delay of line {line}"


def _process(lab, line):
    return next((p for p in lab.helpers if p.name == f"linkem {_name(line)}"), None)


def _devices(line):
    """(of the ISP, the emulator's other end, its peer in the bridge), in the exchange."""
    return f"isp{line}", f"far-{line}", f"bridge-{line}"


def begin(lab, line, milliseconds):
    """The round trip over the line becomes so much longer."""
    end(lab, line)
    if not lab.programs.linkem.exists():
        raise LabError(f"not built: {lab.programs.linkem}; run scripts/build")
    ix, (port, far, bridged) = lab.net["ix"], _devices(line)
    ix.ip("link", "add", far, "type", "veth", "peer", "name", bridged)
    for device in (far, bridged, port):
        # The emulator's interfaces carry other people's packets; the kernel stays out of it.
        ix.sysctl(f"net.ipv6.conf.{device}.disable_ipv6", 1)
        without_offloads(ix, device)
    without_offloads(lab.net[f"isp{line}"], "ix0")
    emulator = LinkEmulator(_name(line), None, port, None, far, directory=lab.directory,
                            programs=lab.programs, namespace=ix, devices=(port, far),
                            socket_path=lab.directory / f"delay-{line}.sock")
    ix.ip("link", "set", port, "nomaster")
    for device in (far, bridged):
        ix.ip("link", "set", device, "up")
    try:
        emulator.start()
        lab.helpers.append(emulator.process)
        emulator.set(delay=milliseconds / 2)
    except BaseException:
        end(lab, line)
        raise
    ix.ip("link", "set", bridged, "master", "br0")
    (lab.directory / f"delay-{line}").write_text(f"{milliseconds}\n")


def end(lab, line):
    """As before. Nothing is done where nothing was."""
    ix, (port, far, _) = lab.net["ix"], _devices(line)
    process = _process(lab, line)
    if process is not None:
        process.stop()
        lab.helpers.remove(process)
    (lab.directory / f"delay-{line}").unlink(missing_ok=True)
    run(ix.command(["ip", "link", "del", far]), check=False)
    ix.ip("link", "set", port, "master", "br0")


def state(lab, line):
    """"+80 ms", or ""."""
    path = lab.directory / f"delay-{line}"
    process: Process | None = _process(lab, line)
    alive = process is not None and process.alive()
    return f"+{path.read_text().strip()} ms" if alive and path.exists() else ""
