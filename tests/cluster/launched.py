"""`make cluster-test`: a cluster of three hosts started by `ray up cluster/onprem.yaml`.

The study runs from an empty cluster to its table, and loses the host of a worker. The hosts are
namespaces of this machine. If they cannot be created, the reason is printed.

    python -m tests.cluster.launched [--keep]

`--keep` writes the observed output into cluster/README.md. Differences from the shipped file are
printed first.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import hosts, shipped
from tests.conftest import ROOT, free_port

README = ROOT / "cluster" / "README.md"
BEGIN, END = "<!-- seen -->\n", "<!-- /seen -->\n"
STUDY = """\
name: launched
base: mfeat
overrides: {trainer.epochs: 80, trainer.checkpoint_seconds: 0}
design: {type: one_factor, factors: {method.bio.weight: [0]}}
seeds: 3
"""
# The hosts reach no package index. Instead of an installation they use the packages of this
# environment and the copied ibml.
INSTALL = """\
rm -rf ~/ibml/.venv && {python} -m venv --without-pip ~/ibml/.venv
&& printf '%s\\n' ~/ibml {packages} > $(echo ~/ibml/.venv/lib/python*/site-packages)/packages.pth
&& for name in ray ibml mlflow;
do {{ echo "#!$HOME/ibml/.venv/bin/python"; tail -n +2 {bin}/$name; }}
> ~/ibml/.venv/bin/$name; chmod +x ~/ibml/.venv/bin/$name; done
"""
PROJECT = (
    "ibml",
    "ablations",
    "search_spaces",
    "cluster",
    "pyproject.toml",
    "constraints.txt",
    "README.md",
    "LICENSE",
)
SMALL = "--num-cpus=1 --object-store-memory=200000000"


class Laptop:
    """This machine with its own home, where all commands are run and recorded with their output."""

    def __init__(self, folder: Path):
        self.folder, self.seen = folder, list[str]()
        self.home = folder / "laptop"
        (self.home / ".ray").mkdir(parents=True)
        (self.home / "tmp").mkdir()
        # ssh takes the home from /etc/passwd, where nothing of these hosts is to be left.
        options = f"-o UserKnownHostsFile={self.home}/known_hosts"
        shipped.command(self.home / "bin", "ssh", f'exec {hosts.found("ssh")} {options} "$@"\n')
        keep = {name: os.environ[name] for name in ("LANG", "LC_ALL") if name in os.environ}
        path = f"{self.home}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
        self.environment = {
            **keep,
            "HOME": str(self.home),
            "PATH": path,
            "TMPDIR": str(self.home / "tmp"),
            "RAY_USAGE_STATS_ENABLED": "0",
            "COLUMNS": "110",
        }

    def __call__(self, command: str, expect: int = 0, show: str = ".*") -> str:
        """Run a command in the project's folder and record the matching lines of its output."""
        began = time.monotonic()
        print(f"$ {command}", flush=True)
        code, said = self.run(command)
        lines = [
            line.rstrip() for line in said.splitlines() if line.strip() and re.search(show, line)
        ]
        self.note([f"$ {command}", *lines, f"    [{time.monotonic() - began:.0f} s]"])
        assert code == expect, f"{code} instead of {expect}:\n{said}"
        return said

    def run(self, command: str) -> tuple[int, str]:
        """Type a command that is not noted."""
        done = subprocess.run(
            command,
            shell=True,
            cwd=self.home / "project",
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=580,
            check=False,
        )
        return done.returncode, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", done.stdout + done.stderr)

    def note(self, lines: list[str]) -> None:
        cleaned = [line.replace(str(self.folder), "…") for line in lines]
        self.seen += cleaned
        print("\n".join(cleaned[1:] if cleaned[0].startswith("$") else cleaned), flush=True)

    @contextmanager
    def tunnel(self, host: str, port: int) -> Iterator[str]:
        """The near end of a tunnel to a port of a host's loopback address."""
        near = free_port()
        options = ["-o", "StrictHostKeyChecking=accept-new", "-o", "LogLevel=ERROR"]
        command = [
            "ssh",
            "-N",
            "-L",
            f"127.0.0.1:{near}:127.0.0.1:{port}",
            "-i",
            str(self.folder / "user"),
            *options,
        ]
        process = subprocess.Popen([*command, f"root@{host}"], env=self.environment)
        try:
            time.sleep(2)
            yield f"http://127.0.0.1:{near}"
        finally:
            process.terminate()
            process.wait()


def configured(folder: Path, addresses: list[str]) -> tuple[str, list[str]]:
    """Return the shipped file with its values filled in, and its other differences."""
    text = (ROOT / "cluster" / "onprem.yaml").read_text()
    head, *workers = addresses
    edits = {
        r"head_ip: .*": f"head_ip: {head}",
        r"worker_ips: .*": f"worker_ips: [{', '.join(workers)}]",
        r"ssh_user: .*": "ssh_user: root",
        r"ssh_private_key: .*": f"ssh_private_key: {folder / 'user'}",
    }
    packages = (
        Path(sys.executable).parents[1] / "lib" / f"python3.{sys.version_info[1]}" / "site-packages"
    )
    python = Path(sys.executable).resolve()
    install = " ".join(
        INSTALL.format(python=python, packages=packages, bin=Path(sys.executable).parent).split(
            "\n"
        )
    )
    others = {
        r"  - test -x ~/ibml/.venv/bin/pip .*\n": "",
        r"  - cd ~/ibml && .venv/bin/pip install .*\n": f"  - >-\n    {install}\n",
        r"ray start --head": f"ray start --head {SMALL}",
        r"ray start --address": f"ray start {SMALL} --address",
    }
    for old, new in {**edits, **others}.items():
        text, count = re.subn(old, lambda _, new=new: new, text)
        assert count == 1, old
    return text, [
        "packages of this machine instead of an installation",
        f"`ray start` with {SMALL}, since the hosts share a machine",
    ]


def main() -> None:
    if why := hosts.missing():
        print(f"skipped: {why}")
        return
    place = Path(tempfile.mkdtemp(dir="/tmp"))
    place.chmod(0o755)
    sockets = set(Path("/tmp").glob("ray_ssh_*"))  # of Ray's own ssh connections
    try:
        with hosts.hosts(place) as made:
            laptop = Laptop(place)
            for part in PROJECT:
                source, target = ROOT / part, laptop.home / "project" / part
                target.parent.mkdir(exist_ok=True)
                (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
            scenario(laptop, made)
    finally:
        for left in {place, *Path("/tmp").glob("ray_ssh_*")} - sockets:
            shutil.rmtree(left, ignore_errors=True)
    if "--keep" in sys.argv:
        keep(laptop.seen)


def scenario(laptop: Laptop, made: list[hosts.Host]) -> None:
    """Run every command of a user, from the first to the last."""
    folder, (head, _, lost) = laptop.folder, made
    (folder / "shared").mkdir()
    for host in made:
        (host.own / "home" / "shared").symlink_to(folder / "shared")
    text, differs = configured(folder, [host.address for host in made])
    (laptop.home / "project" / "cluster" / "onprem.yaml").write_text(text)
    (laptop.home / "project" / "launched.yaml").write_text(STUDY)
    print("not as shipped, besides addresses and key:", *differs, sep="\n- ")

    laptop(
        "ray get-auth-token --generate > /dev/null; chmod 600 ~/.ray/auth_token; stat --format=%A "
        "~/.ray/auth_token"
    )
    laptop(
        "ray up --yes --no-config-cache cluster/onprem.yaml",
        show="Ray runtime started|New status|rror",
    )
    wait_for(lambda: all(host.running("raylet") for host in made), 120, "raylets on all hosts")
    laptop.note([f"# raylets on the three hosts: {[host.running('raylet') for host in made]}"])
    check = "'cd ibml && ibml cluster check ablations/smoke.yaml'"
    wait_for(lambda: nodes(laptop) == len(made), 120, "three nodes in the cluster")
    laptop(f"ray exec cluster/onprem.yaml {check}", show=r"^ [^T]")
    for host in made:
        assert (host.own / "home" / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600
    with laptop.tunnel(head.address, 8265) as jobs, laptop.tunnel(head.address, 5000) as store:
        stranger = laptop.home / "stranger"
        stranger.mkdir()
        refused = laptop(f"HOME={stranger} ibml list --jobs {jobs}", expect=1, show="asks")
        assert "token" in refused
        laptop(f"ibml ablate launched.yaml --submit --jobs {jobs}", show="^Job")
        checkpoints = folder / "shared" / "checkpoints"

        def trains() -> bool:
            states = list(checkpoints.rglob("state-*.ckpt"))
            return bool(lost.running("ray::ResourceTr")) and len(states) >= 6

        wait_for(trains, 240, "three trials with checkpoints, one on the host that is lost")
        lost.down()
        laptop.note([f"# the host {lost.address}, on which a trial runs, is killed"])
        said = laptop(f"ibml logs launched --follow --jobs {jobs}", show="trials done|again|Note")
        assert "6 / 6 trials done" in said
        laptop(f"ibml list --jobs {jobs}", show="launched")
        _, table = laptop.run(f"ibml table launched --tracking-uri {store} --format csv")
        laptop(f"ibml table launched --tracking-uri {store}", show="±|hurts|helps|detected|seeds")
    laptop("sh cluster/onprem-down.sh", expect=1, show="^10|rror")
    left = [host.running("raylet") for host in made]
    laptop.note([f"# raylets that are left: {left}"])
    assert left == [0, 0, 0]
    _, alone = laptop.run(
        "ibml ablate launched.yaml > /dev/null 2>&1; ibml table launched --format csv"
    )
    assert alone == table, f"{alone}\n{table}"
    laptop.note(["# the table of the same study on this machine alone: the same"])


def nodes(laptop: Laptop) -> int:
    _, said = laptop.run("ray exec cluster/onprem.yaml 'ibml cluster check'")
    return len(set(re.findall(r"10\.77\.0\.\d+", said)))


def wait_for(ready: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"not there after {seconds:.0f} s: {what}"
        time.sleep(0.5)


def keep(seen: list[str]) -> None:
    text = README.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    shown = "\n".join(f"    {line}".rstrip() for line in seen)
    README.write_text(f"{before}{BEGIN}\n{shown}\n\n{END}{after}")


if __name__ == "__main__":
    main()
