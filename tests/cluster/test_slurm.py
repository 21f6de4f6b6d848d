"""The Slurm script with `srun` and `scontrol` that start everything on this machine.

`ray` and `ibml` are either fakes that record their calls, or the real commands.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.cluster.shipped import CLUSTER, command
from tests.conftest import ROOT

SCRIPT = CLUSTER / "slurm" / "ibml.sbatch"

# Runs the step once per task on this machine. Like Slurm, it answers SIGTERM by killing every
# process of the step. It finds them by the environment, where Slurm uses the control group.
SRUN = """
import os, signal, subprocess, sys
import psutil
with open(os.environ["TOLD"] + "/srun", "a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
arguments, tasks = sys.argv[1:], 1
while arguments[0].startswith("--"):
    option = arguments.pop(0)
    if option.startswith("--ntasks="):
        tasks = int(option.split("=")[1])
step = f"{os.environ['SLURM_JOB_ID']}.{os.getpid()}"
def kill(number, frame):
    for process in psutil.process_iter():
        try:
            if process.environ().get("SLURM_STEP") == step:
                process.kill()
        except psutil.Error:
            pass
signal.signal(signal.SIGTERM, kill)
environment = {**os.environ, "SLURM_STEP": step, "SPT_NOENV": "1"}
running = [subprocess.Popen(arguments, env=environment) for task in range(tasks)]
sys.exit(max(abs(process.wait()) for process in running))
"""
SCONTROL = 'echo "$*" >> "$TOLD/scontrol"; for node in $NODES; do echo "$node"; done\n'

TELL = """
import json, os, signal, socket, sys, time
def say(what):
    with open(os.environ["TOLD"] + "/said", "a") as file:
        file.write(what + "\\n")
path = os.environ["RAY_AUTH_TOKEN_PATH"]
told = {"name": os.path.basename(sys.argv[0]), "arguments": sys.argv[1:],
        "mode": os.environ.get("RAY_AUTH_MODE"), "token": open(path).read(),
        "step": "SLURM_STEP" in os.environ, "other": os.environ.get("RAY_AUTH_TOKEN"),
        "file_mode": os.stat(path).st_mode & 0o777,
        "folder_mode": os.stat(os.path.dirname(path)).st_mode & 0o777}
with open(os.environ["TOLD"] + "/told.jsonl", "a") as file:
    file.write(json.dumps(told) + "\\n")
"""
FAKE_RAY = f"""{TELL}
if os.environ.get("RAY_FAILS"):
    sys.exit(1)
port = [argument.split("=")[1] for argument in sys.argv if argument.startswith("--port=")]
server = socket.create_server(("127.0.0.1", int(port[0]))) if port else None
while True:
    time.sleep(0.1)
"""
# Ends as ibml does: a SIGTERM becomes a SIGINT. Waits until all Ray processes have recorded.
FAKE_IBML = f"""{TELL}
signal.signal(signal.SIGTERM, lambda number, frame: os.kill(os.getpid(), signal.SIGINT))
processes = len(os.environ["NODES"].split()) + 1
while len(open(os.environ["TOLD"] + "/told.jsonl").readlines()) < processes:
    time.sleep(0.05)
say("ready")
try:
    time.sleep(float(os.environ.get("SECONDS_OF_STUDY", "0")))
except KeyboardInterrupt:
    host, port = sys.argv[-1].split(":")
    socket.create_connection((host, int(port)), timeout=5)
    say("stopped while Ray runs")
    sys.exit(130)
sys.exit(int(os.environ.get("CODE_OF_STUDY", "0")))
"""


def unused_job() -> int:
    """A job number whose ports are free."""
    for job in range(1_000_000 + os.getpid() % 1000, 2_000_000):
        first = 20000 + job % 1000 * 10
        try:
            for port in range(first, first + 5):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return job
    raise AssertionError("no free ports")


class Job:
    """Submission of a job: its folder, the programs in its path, and their records."""

    def __init__(self, folder: Path, nodes: str, **environment: str):
        self.folder = folder
        self.told = folder / "told"
        self.told.mkdir()
        self.submitted = folder / "project"
        self.submitted.mkdir()
        self.number = unused_job()
        self.bin = folder / "bin"
        command(self.bin, "srun", SRUN, sys.executable)
        command(self.bin, "scontrol", SCONTROL)
        venv = folder / "venv" / "bin"
        venv.mkdir(parents=True)
        (venv / "activate").write_text(f'PATH="{self.bin}:{Path(sys.executable).parent}:$PATH"\n')
        self.environment = {
            **{
                k: v
                for k, v in os.environ.items()
                if not k.startswith(("MLFLOW", "RAY", "SLURM", "IBML", "OPTUNA"))
            },
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "TOLD": str(self.told),
            "NODES": nodes,
            "PYTHONPATH": str(ROOT),
            "SLURM_JOB_ID": str(self.number),
            "SLURM_JOB_NODELIST": "some[1-9]",
            "SLURM_SUBMIT_DIR": str(self.submitted),
            "SLURM_CPUS_PER_TASK": "1",
            "IBML_VENV": str(folder / "venv"),
            "IBML_OBJECT_STORE_BYTES": "100000000",
            "IBML_CACHE": str(folder / "cache"),
            **environment,
        }

    @property
    def scratch(self) -> list[Path]:
        """Ray's folders of this job: one while it runs."""
        return list(Path("/tmp").glob(f"ibml-{self.number}-*"))

    def with_fakes(self) -> Job:
        command(self.bin, "ray", FAKE_RAY, sys.executable)
        command(self.bin, "ibml", FAKE_IBML, sys.executable)
        return self

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", str(SCRIPT), *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def calls(self) -> list[dict]:
        return [json.loads(line) for line in (self.told / "told.jsonl").read_text().splitlines()]

    def said(self) -> list[str]:
        path = self.told / "said"
        return path.read_text().splitlines() if path.exists() else []

    def left(self) -> list[str]:
        """Command lines of this job that still run."""
        mine = []
        for process in psutil.process_iter(["cmdline", "pid"]):
            line = " ".join(process.info["cmdline"] or [])
            if f"/tmp/ibml-{self.number}-" in line or str(self.folder) in line:
                mine.append(line)
        return mine


def finish(process: subprocess.Popen[str], seconds: float = 30) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        raise AssertionError(f"the job went on:\n{out}\n{err}") from None
    return process.returncode, out, err


def wait_for(condition, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_head_and_driver_are_on_the_first_node_and_a_worker_on_each_other(tmp_path):
    job = Job(tmp_path, "localhost two three").with_fakes()
    code, _, err = finish(job.start("ablations/smoke.yaml", "--seeds", "2"))
    assert code == 0, err
    assert (job.told / "scontrol").read_text() == "show hostnames some[1-9]\n"
    calls = job.calls()
    heads = [c for c in calls if "--head" in c["arguments"]]
    workers = [c for c in calls if c["name"] == "ray" and "--head" not in c["arguments"]]
    (driver,) = [c for c in calls if c["name"] == "ibml"]
    assert (len(heads), len(workers)) == (1, 2)
    address = f"127.0.0.1:{20000 + job.number % 1000 * 10}"
    assert all(f"--address={address}" in worker["arguments"] for worker in workers)
    assert driver["arguments"] == [
        "ablate",
        "ablations/smoke.yaml",
        "--seeds",
        "2",
        "--address",
        address,
    ]
    head_step, worker_step, clean_step = (job.told / "srun").read_text().splitlines()
    assert "--nodes=1 --ntasks=1 --nodelist=localhost" in head_step
    assert "--nodes=2 --ntasks=2 --exclude=localhost" in worker_step
    assert re.search(rf"--nodes=3 --ntasks=3 rm -rf /tmp/ibml-{job.number}-\w{{6}}$", clean_step)
    assert clean_step.endswith(
        next(a for a in heads[0]["arguments"] if "--temp-dir=" in a).removeprefix("--temp-dir=")
    )
    assert [c["step"] for c in (*heads, *workers, driver)] == [True, True, True, False]
    assert "--dashboard-host=127.0.0.1" in heads[0]["arguments"]
    assert all("--block" in c["arguments"] for c in heads + workers)


def test_one_node_has_no_worker_step(tmp_path):
    job = Job(tmp_path, "localhost").with_fakes()
    code, _, err = finish(job.start("ablations/smoke.yaml"))
    assert code == 0, err
    assert [c["name"] for c in job.calls()] == ["ray", "ibml"]


def test_every_job_has_a_token_of_its_own_that_others_cannot_read_and_that_goes(tmp_path):
    tokens = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        job = Job(tmp_path / name, "localhost two", RAY_AUTH_TOKEN="of another").with_fakes()
        code, _, err = finish(job.start("ablations/smoke.yaml"))
        assert code == 0, err
        calls = job.calls()
        assert len(calls) == 3
        assert {(c["mode"], c["other"]) for c in calls} == {("token", None)}
        assert {(c["file_mode"], c["folder_mode"]) for c in calls} == {(0o600, 0o700)}
        (token,) = {c["token"] for c in calls}
        assert re.fullmatch("[0-9a-f]{64}", token)
        tokens.add(token)
        assert not list(job.submitted.iterdir())
    assert len(tokens) == 2


@pytest.mark.parametrize("code", [0, 3])
def test_the_job_ends_as_the_study_does_and_leaves_nothing(tmp_path, code):
    job = Job(tmp_path, "localhost two", CODE_OF_STUDY=str(code)).with_fakes()
    users = Path(f"/tmp/ibml-{job.number}")  # a name that a user may have chosen
    users.mkdir()
    try:
        assert finish(job.start("ablations/smoke.yaml"))[0] == code
        assert users.is_dir()
    finally:
        users.rmdir()
    assert not job.left()
    assert not job.scratch


def test_the_time_limits_sigterm_reaches_the_driver_before_ray_is_ended(tmp_path):
    job = Job(tmp_path, "localhost two", SECONDS_OF_STUDY="60").with_fakes()
    process = job.start("ablations/smoke.yaml")
    wait_for(lambda: "ready" in job.said())
    process.send_signal(signal.SIGTERM)  # to the script alone, as `--signal=B:TERM` does
    code, _, err = finish(process)
    assert code == 130
    assert "submit the same command again" in err
    assert job.said() == ["ready", "stopped while Ray runs"]
    assert not job.left()
    assert not list(job.submitted.iterdir())


def test_a_host_that_knows_itself_by_a_loopback_address_is_called_by_another(tmp_path):
    job = Job(tmp_path, "localhost two").with_fakes()
    command(job.bin, "getent", "echo '127.0.1.1 STREAM node'\n")
    command(job.bin, "hostname", "echo '127.0.0.1 10.0.0.9 '\n")
    code, _, err = finish(job.start("ablations/smoke.yaml"))
    assert code == 0, err
    address = f"127.0.0.1:{20000 + job.number % 1000 * 10}"
    assert [c["arguments"][-1] for c in job.calls() if c["name"] == "ibml"] == [address]


def test_without_nodes_nothing_is_left(tmp_path):
    job = Job(tmp_path, "").with_fakes()
    code, _, err = finish(job.start("ablations/smoke.yaml"))
    assert code == 1, err
    assert not (job.told / "srun").exists()
    assert not list(job.submitted.iterdir())


def test_a_head_that_does_not_start_ends_the_job(tmp_path):
    job = Job(tmp_path, "localhost two", RAY_FAILS="1").with_fakes()
    code, _, err = finish(job.start("ablations/smoke.yaml"))
    assert code == 1
    assert "Ray's head did not start on localhost" in err
    assert [c["name"] for c in job.calls()] == ["ray"]
    assert not list(job.submitted.iterdir())


def test_without_a_study_it_says_how_it_is_called(tmp_path):
    job = Job(tmp_path, "localhost").with_fakes()
    code, _, err = finish(job.start())
    assert code == 2
    assert "usage: sbatch" in err
    assert not (job.told / "srun").exists()


def test_slurm_is_asked_for_the_signal_in_time_and_to_go_on_without_a_lost_node():
    options = re.findall(r"^#SBATCH (\S+)$", SCRIPT.read_text(), re.MULTILINE)
    assert "--signal=B:TERM@120" in options
    assert "--no-kill" in options
    assert "--ntasks-per-node=1" in options
    assert not re.search(r"^[^#]*\bray stop\b", SCRIPT.read_text(), re.MULTILINE)


# The real `ibml`, once both nodes are there.
IBML = """
import os, sys, time
import ray
address = sys.argv[sys.argv.index("--address") + 1]
ray.init(address=address, logging_level="ERROR", log_to_driver=False)
deadline = time.monotonic() + 60
while sum(node["Alive"] for node in ray.nodes()) < 2 and time.monotonic() < deadline:
    time.sleep(0.2)
print("nodes:", sum(node["Alive"] for node in ray.nodes()), flush=True)
ray.shutdown()
os.execv(sys.executable, [sys.executable, "-m", "ibml", *sys.argv[1:]])
"""


@pytest.mark.skipif(
    "IBML_TEST_CLUSTER" not in os.environ,
    reason="it takes over a minute: make cluster-test runs it",
)
def test_a_real_study_on_two_real_nodes_is_stopped_by_the_time_limit_and_goes_on(tmp_path):
    job = Job(tmp_path, "localhost localhost")
    command(job.bin, "ibml", IBML, sys.executable)
    study = (
        str(ROOT / "ablations" / "smoke.yaml"),
        "--seeds",
        "1",
        "-o",
        "trainer.epochs=40",
        "-o",
        "trainer.checkpoint_seconds=0",
    )
    process = job.start(*study)
    states = job.submitted / "checkpoints"
    wait_for(lambda: process.poll() is not None or list(states.rglob("*.ckpt")), seconds=120)
    process.send_signal(signal.SIGTERM)
    code, out, err = finish(process, seconds=60)
    assert code == 143, f"{out}\n{err}"
    assert "nodes: 2" in out
    assert not job.left()

    code, out, err = finish(job.start(*study), seconds=240)
    assert code == 0, f"{out}\n{err}"
    assert "2 results of 2 trial keys" in " ".join(out.split())
    assert not job.left()
    assert not job.scratch
