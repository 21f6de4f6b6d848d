"""The command line before anything runs: help, dry runs, errors, schemas."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import torch
import yaml

from ibml.common.yaml import documents
from tests.conftest import ROOT, CommandLine

HEAVY = ("torch", "ray", "mlflow", "pandas")


def imports_of(*arguments: str, folder: Path) -> tuple[int, set[str]]:
    """The exit code of a command, and which heavy packages it imported."""
    script = (
        "import sys\nfrom ibml.cli.main import app\n"
        "try:\n    app(sys.argv[1:])\nexcept SystemExit as end:\n    code = end.code\n"
        f"print('HEAVY', *[name for name in {HEAVY!r} if name in sys.modules])\nsys.exit(code)"
    )
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    line = next(line for line in done.stdout.splitlines() if line.startswith("HEAVY"))
    return done.returncode, set(line.split()[1:])


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["ablate", "--help"], 0),
        (["ablate", str(ROOT / "ablations/components.yaml"), "--dry-run"], 0),
        (["ablate", str(ROOT / "ablations/components.yaml"), "-o", "trainer.epoch=3"], 2),
        (["ablate", "nothing.yaml"], 2),
        (["train", "mfaet"], 2),
        (["schema", "ablation"], 0),
    ],
)
def test_what_needs_no_heavy_package_imports_none(
    tmp_path: Path, arguments: list[str], code: int
) -> None:
    assert imports_of(*arguments, folder=tmp_path) == (code, set())


def test_help_names_every_command(cli: CommandLine) -> None:
    text = cli.inside("--help").out
    for command in ("train", "ablate", "table", "ui", "schema"):
        assert command in text


def test_a_dry_run_shows_the_plan_and_runs_nothing(cli: CommandLine) -> None:
    answer = cli.inside(
        "ablate", str(ROOT / "ablations/components.yaml"), "--dry-run", "--seeds", "7"
    )
    assert answer.code == 0
    assert "28 trials (4 arms × 7 seeds), 1,120 epochs" in answer.out
    assert "method.bio.weight: 1.0, method.tcm.rate: 1.0" in answer.out
    assert not (cli.folder / "mlflow.db").exists()


def test_errors_go_to_stderr_with_their_line_and_code_2(cli: CommandLine) -> None:
    text = (ROOT / "ablations/components.yaml").read_text()
    cli.write(
        "wrong.yaml",
        text.replace("IBML: {}", "IBML: {fusion.tpye: sum}").replace("seeds: 5", "seeds: 0"),
    )
    answer = cli.inside("ablate", "wrong.yaml")
    assert answer.code == 2
    assert answer.out == ""
    lines = text.splitlines()
    arm, seeds = (
        next(i for i, line in enumerate(lines, 1) if part in line)
        for part in ("IBML: {}", "seeds: 5")
    )
    first, second = answer.err.splitlines()
    assert first.startswith(f"wrong.yaml:{arm}: design.arms.IBML: unknown key 'fusion.tpye'")
    assert second.startswith(f"wrong.yaml:{seeds}: seeds: ")


@pytest.mark.parametrize(
    "path", sorted((ROOT / "ablations").glob("*.yaml")), ids=lambda path: path.stem
)
def test_shipped_studies_satisfy_the_schema(cli: CommandLine, path: Path) -> None:
    made = json.loads(cli.inside("schema", "ablation").out)
    jsonschema.Draft202012Validator.check_schema(made)
    jsonschema.validate(documents.read(path).data, made)


def test_the_schema_refuses_a_wrong_value_of_a_dotted_path(cli: CommandLine) -> None:
    made = json.loads(cli.inside("schema", "ablation").out)
    study = documents.read(ROOT / "ablations/components.yaml").data
    study["design"]["arms"]["IBML"] = {"method.bio.weight": "heavy"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(study, made)


def test_train_records_one_run_however_often_it_is_called(cli: CommandLine) -> None:
    first = cli.inside("train", "mfeat", "-o", "trainer.epochs=2", "-o", "seed=3")
    second = cli.inside("train", "mfeat", "-o", "trainer.epochs=2", "-o", "seed=3")
    assert first.code == second.code == 0, first.err
    assert "epoch   1  loss" in first.out
    assert "test.accuracy" in first.out
    without_time = [
        [line for line in a.out.splitlines() if not line.startswith("time.")]
        for a in (first, second)
    ]
    assert without_time[0] == without_time[1], "the same numbers and the same MLflow run"


def test_a_trial_file_trains_as_the_artifact_of_a_run_does(cli: CommandLine) -> None:
    cli.inside("train", "mfeat", "-o", "trainer.epochs=2")
    (config,) = (cli.folder / "mlruns").rglob("config.yaml")
    assert yaml.safe_load(config.read_text())["trainer"]["epochs"] == 2
    answer = cli.inside("train", str(config))
    assert answer.code == 0, answer.err
    assert len(list((cli.folder / "mlruns").rglob("config.yaml"))) == 1, "it is the same trial"


def test_a_trial_that_diverges_ends_with_1(cli: CommandLine) -> None:
    answer = cli.inside("train", "mfeat", "-o", "trainer.epochs=2", "-o", "optimizer.lr=1e30")
    assert answer.code == 1
    assert "diverged: train.loss was" in answer.err


NOTE = "ibml acts from epoch 1 on (method.window.first_epoch, from 0), and training has 1 epoch"


def test_one_epoch_of_the_default_method_trains_as_joint_and_says_so(cli: CommandLine) -> None:
    once = cli.inside("train", "mfeat", "-o", "trainer.epochs=1")
    assert once.code == 0, once.err
    assert once.err.startswith(f"Note: {NOTE}")
    joint = cli.inside("train", "mfeat", "-o", "trainer.epochs=1", "-o", "method.type=joint")
    assert (joint.code, joint.err) == (0, "")
    run = [
        next(line for line in answer.out.splitlines() if line.startswith("Results: MLflow run"))
        for answer in (once, joint)
    ]
    assert run[0] == run[1], "it is the same trial"


@pytest.mark.parametrize(
    ("command", "file"), [("ablate", "ablations/smoke.yaml"), ("tune", "search_spaces/pbt.yaml")]
)
def test_a_dry_run_and_the_beginning_of_a_run_say_what_is_probably_not_meant(
    cli: CommandLine, command: str, file: str
) -> None:
    base = ["--base", "mfeat"] if command == "tune" else []
    given = [command, str(ROOT / file), *base, "-o", "trainer.epochs=1"]
    dry = cli.inside(*given, "--dry-run")
    assert dry.code == 0, dry.err
    assert f"{NOTE}" in " ".join(dry.out.split())
    begun = cli.inside(
        *given, "--tracking-uri", "http://127.0.0.1:1/none", "--submit", "--jobs", "none"
    )
    assert begun.code != 0, "there is no such server"
    assert NOTE in begun.err


def test_a_device_that_is_not_there_is_said_in_a_line(cli: CommandLine) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    answer = cli.inside("train", "mfeat", "-o", "trainer.epochs=2", "-o", "trainer.device=cuda")
    assert answer.code == 1
    assert answer.err.count("\n") == 1
    assert "trainer.device is 'cuda'" in answer.err


def test_reading_a_store_does_not_make_one(cli: CommandLine) -> None:
    answer = cli.inside("table", "x")
    assert answer.code == 1
    assert "nothing was run here yet" in answer.err
    assert not (cli.folder / "mlflow.db").exists()


def test_a_trial_that_raises_is_recorded_and_told_in_a_line(cli: CommandLine) -> None:
    answer = cli.inside(
        "train", "mfeat", "-o", "trainer.epochs=2", "-o", "encoders.default.features=1000000000"
    )
    assert answer.code == 1
    assert "the trial failed: RuntimeError" in answer.err
    assert "Traceback" not in answer.err
    assert (
        "can't allocate memory" in next((cli.folder / "mlruns").rglob("traceback.txt")).read_text()
    )


def test_the_ui_of_a_server_is_the_server(cli: CommandLine) -> None:
    answer = cli.inside("ui", "--tracking-uri", "http://me:secret@127.0.0.1:5999")
    assert answer.code == 0
    assert "open http://me:***@127.0.0.1:5999" in answer.out
