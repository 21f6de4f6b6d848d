"""Checkpoints and shared states in a bucket of moto's S3 server: same numbers, resumption, GC."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from urllib.request import Request, urlopen

import pytest
from moto.server import ThreadedMotoServer

from ibml.api import load_model
from ibml.common.storage import ObjectPath, parse_storage_path
from tests.conftest import CommandLine, free_port
from tests.support.recorded import Metrics, metrics, trials

pytestmark = pytest.mark.slow

STUDY = """\
name: late
base: mfeat
overrides: {trainer.epochs: 60, trainer.checkpoint_seconds: 0, method.window.first_epoch: 40}
design: {type: one_factor, factors: {method.bio.weight: [0.5, 1]}}
seeds: 2
"""
KEYS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """An address in a bucket of an S3 server on this machine, whose keys are in the environment."""
    port = free_port()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        urlopen(Request(f"http://127.0.0.1:{port}/results", method="PUT")).close()
        yield f"s3://results/ibml?endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1"
    server.stop()


@pytest.fixture(scope="module")
def alone(shared_cli: CommandLine) -> Metrics:
    """The results with checkpoints in a folder."""
    shared_cli.write("late.yaml", STUDY)
    answer = shared_cli.study("ablate", "late.yaml")
    assert answer.code == 0, answer.err
    return metrics(shared_cli)


@pytest.mark.ray
def test_a_study_in_a_bucket_is_killed_goes_on_and_is_cleaned_up(
    bucket: str, cli: CommandLine, alone: Metrics
) -> None:
    cli.write("late.yaml", STUDY)
    cli.environment |= KEYS
    running = cli.start("ablate", "late.yaml", "--checkpoints", bucket)
    deadline = time.monotonic() + 120
    while not list(parse_storage_path(bucket).rglob("state-*.ckpt")):
        assert time.monotonic() < deadline, "no checkpoint came"
        time.sleep(0.2)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    again = cli("ablate", "late.yaml", "--checkpoints", bucket)
    assert again.code == 0, again.err
    assert metrics(cli) == alone
    assert "Prefix sharing saved" in again.out
    assert list(parse_storage_path(bucket).rglob("*-*.ckpt"))
    assert not list(cli.folder.glob("checkpoints"))
    states = [
        path for path in parse_storage_path(bucket).rglob("*.ckpt") if path.parent.name == "stages"
    ]
    assert states
    selected = [
        path
        for path in parse_storage_path(bucket).rglob("selected.ckpt")
        if isinstance(path, ObjectPath)
    ]
    assert {path.parent.name for path in selected} == {
        run.data.tags["ibml.key"] for run in trials(cli)
    }
    assert load_model(str(selected[0])).labels
    gone = cli.inside("gc", "--checkpoints", bucket)
    assert gone.code == 0, gone.err
    assert f"{len(states)} files" in gone.out
    assert sorted(parse_storage_path(bucket).rglob("*.ckpt"), key=str) == sorted(selected, key=str)


@pytest.mark.ray
@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_is_gone_stops_no_study(cli: CommandLine, alone: Metrics) -> None:
    """Its server ends while trials train: checkpoints are lost, which is said, and nothing else."""
    port = free_port()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    urlopen(Request(f"http://127.0.0.1:{port}/brief", method="PUT")).close()
    address = f"s3://brief/ibml?endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1"
    cli.environment |= KEYS
    cli.write("late.yaml", STUDY.replace("checkpoint_seconds: 0", "checkpoint_seconds: 0.5"))
    running = cli.start("ablate", "late.yaml", "--seeds", "1", "--checkpoints", address)
    deadline = time.monotonic() + 120
    while not list(parse_storage_path(address).rglob("state-*.ckpt")):
        assert time.monotonic() < deadline, "no checkpoint came"
        time.sleep(0.2)
    server.stop()
    out, err = running.communicate(timeout=280)
    assert running.returncode == 0, err
    assert "2 / 2 trials done" in out
    assert "checkpoints cannot be written to" in out
    assert metrics(cli) == {key: alone[key] for key in metrics(cli)}


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("s4://results/ibml", "s4:// is not a supported kind of storage; known: s3://, gs://"),
        ("s3://", "the form s3://BUCKET/FOLDER"),
        ("s3://key:hunter2@results/ibml", "in environment variables"),
        (
            "s3://results/ibml?endpoint_override=127.0.0.1:1&scheme=http&region=us-east-1",
            "checkpoints: s3://results/",
        ),
    ],
)
def test_what_is_no_place_for_checkpoints_is_said(
    bucket: str, cli: CommandLine, address: str, words: str
) -> None:
    cli.write("late.yaml", STUDY)
    answer = cli.inside("ablate", "late.yaml", "--checkpoints", address)
    assert answer.code == 1
    assert words in answer.err
    assert "hunter2" not in answer.err


def test_an_object_is_like_a_path(bucket: str) -> None:
    folder = parse_storage_path(bucket) / "paths"
    assert not folder.exists()
    assert list(folder.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        (folder / "a.ckpt").read_bytes()
    with pytest.raises(FileNotFoundError):
        (folder / "a.ckpt").unlink()
    with pytest.raises(FileNotFoundError):
        (folder / "a.ckpt").stat()
    (folder / "a.ckpt").unlink(missing_ok=True)
    (folder / "a.ckpt").write_bytes(b"one")
    (folder / "deep" / "b.txt").write_bytes(b"three")
    assert (folder / "a.ckpt").read_bytes() == b"one"
    assert (folder / "a.ckpt").stat().st_size == 3
    assert abs((folder / "a.ckpt").stat().st_mtime - time.time()) < 60
    assert [path.name for path in folder.glob("*.ckpt")] == ["a.ckpt"]
    assert [path.name for path in folder.glob("*/")] == ["deep"]
    assert [path.name for path in folder.rglob("*.txt")] == ["b.txt"]
    assert folder.is_dir()
    assert not folder.is_file()
    assert parse_storage_path(str(folder / "a.ckpt")) == folder / "a.ckpt"
    folder.rmdir()
    assert not folder.exists()
