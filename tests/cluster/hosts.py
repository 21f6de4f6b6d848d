"""Hosts on this machine: network namespaces on a bridge.

Each host has its own processes, home directory, `/tmp/ray` and sshd. The hosts share the rest of
the file system. Requires root, and Debian's iproute2, openssh and rsync.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

LAPTOP = "10.77.0.254"
SSHD = """\
Port 22
ListenAddress {address}
HostKey {keys}/host
AuthorizedKeysFile {keys}/user.pub
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
StrictModes no
UsePAM no
"""
# /etc/passwd is replaced too, because it names the home. A shell of ssh reads the home's .bashrc.
INSIDE = """\
mount --make-rprivate / && mount -t proc proc /proc && mount --bind {own}/passwd /etc/passwd &&
mkdir -p /tmp/ray && mount --bind {own}/ray /tmp/ray &&
mount --bind {own}/home {home} && mkdir -p /run/sshd &&
exec {sshd} -D -e -f {own}/sshd_config
"""


def missing() -> str:
    """Why there can be no hosts here; empty where there can."""
    if os.geteuid() != 0:
        return "it takes root, for network namespaces"
    lacking = [
        name for name in ("ip", "sshd", "ssh", "ssh-keygen", "rsync", "unshare") if not found(name)
    ]
    return f"these commands are missing: {', '.join(lacking)}" if lacking else ""


def found(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


class Host:
    """Host that runs until `down` kills it with all its processes."""

    def __init__(self, name: str, address: str, folder: Path):
        self.name, self.address, self.own, self.home = name, address, folder / name, folder / "home"
        for place in (self.own / "home", self.own / "ray", self.home):
            place.mkdir(parents=True, exist_ok=True)
        (self.own / "passwd").write_text(
            f"root:x:0:0:root:{self.home}:/bin/bash\nsshd:x:100:65534::/run/sshd:/bin/false\n"
        )
        (self.own / "sshd_config").write_text(SSHD.format(address=address, keys=folder))

    def up(self) -> None:
        script = INSIDE.format(own=self.own, home=self.home, sshd=found("sshd"))
        command = [
            "ip",
            "netns",
            "exec",
            self.name,
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            "-c",
        ]
        with (self.own / "sshd.log").open("w") as log:
            subprocess.Popen([*command, script], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while True:
            with suppress(OSError), socket.create_connection((self.address, 22), timeout=1):
                return
            assert time.monotonic() < deadline, (self.own / "sshd.log").read_text()
            time.sleep(0.2)

    def down(self) -> None:
        while processes := self.processes():
            for process in processes:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.2)

    def processes(self) -> list[int]:
        asked = subprocess.run(
            ["ip", "netns", "pids", self.name], capture_output=True, text=True, check=False
        )
        return [int(line) for line in asked.stdout.split()]

    def running(self, name: str) -> int:
        """Count the processes of this name."""
        names = []
        for process in self.processes():
            with suppress(OSError):
                names.append(Path(f"/proc/{process}/comm").read_text().strip())
        return names.count(name)


@contextmanager
def hosts(folder: Path, count: int = 3) -> Iterator[list[Host]]:
    """Create hosts at 10.77.0.1 and the following addresses.

    This machine is 10.77.0.254. `folder` contains the key of the user as `user`.
    """
    bridge = f"ibml{os.getpid() % 10000}"
    for name in ("host", "user"):
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
    with ExitStack() as stack:
        _run("ip", "link", "add", bridge, "type", "bridge")
        stack.callback(_run, "ip", "link", "del", bridge)
        _run("ip", "address", "add", f"{LAPTOP}/24", "dev", bridge)
        _run("ip", "link", "set", bridge, "up")
        made = []
        for number in range(1, count + 1):
            name, near, address = f"{bridge}-{number}", f"{bridge}v{number}", f"10.77.0.{number}"
            _run("ip", "netns", "add", name)
            stack.callback(_run, "ip", "netns", "del", name)
            _run("ip", "link", "add", near, "type", "veth", "peer", "name", "eth0", "netns", name)
            _run("ip", "link", "set", near, "master", bridge, "up")
            for words in (
                f"address add {address}/24 dev eth0",
                "link set eth0 up",
                "link set lo up",
            ):
                _run("ip", "-n", name, *words.split())
            _run("ip", "-n", name, "route", "add", "default", "via", LAPTOP)
            host = Host(name, address, folder)
            stack.callback(host.down)
            host.up()
            made.append(host)
        yield made


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
