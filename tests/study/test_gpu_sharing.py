"""`resources.gpu: auto`: trials per GPU, the probe of a trial, and messages without a GPU."""

from __future__ import annotations

import pytest
import torch

from ibml.study.ray.gpu_sharing import CONTEXT, MARGIN, compute_gpu_share
from ibml.training.gpu_probe import STEPS, measure_gpu_memory, run_probe_steps
from ibml.training.trainer import Trainer
from tests.conftest import CommandLine

GIB = 2**30
STUDY = """\
name: shared
base: mfeat
overrides: {trainer.epochs: 2}
resources: {cpu: 1, gpu: auto}
design:
  type: arms
  reference: Joint
  arms: {Joint: {method.bio.weight: 0, method.tcm.rate: 0}, IBML: {}}
seeds: 2
"""


@pytest.mark.parametrize(
    ("total", "peak"), [(16, 1.0), (16, 3.7), (80, 0.01), (24, 23.9), (8, 30.0)]
)
def test_as_many_fit_as_leave_the_margin(total: float, peak: float) -> None:
    fit, share = compute_gpu_share(int(total * GIB), int(peak * GIB))
    each, free = int(peak * GIB) + CONTEXT, (1 - MARGIN) * total * GIB
    assert fit == 1 or fit * each <= free
    assert (fit + 1) * each > free
    assert 0 < fit * share <= 1
    assert int(1 / share) == fit, "Ray puts as many on it, and not one more"


@pytest.mark.parametrize("method", ["ibml", "mla", "modality_valuation", "pmr"])
def test_the_try_is_some_steps_of_a_training(
    trial, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = trial(method={"type": method}, trainer={"epochs": 6})
    trainer, steps = Trainer(config), []
    monkeypatch.setattr(trainer.optimizer, "step", count(trainer.optimizer.step, steps))
    before = [p.detach().clone() for p in trainer.model.parameters()]
    run_probe_steps(trainer)
    assert any(
        not torch.equal(old, new)
        for old, new in zip(before, trainer.model.parameters(), strict=True)
    )
    assert len(steps) >= STEPS


def count(step, steps):
    def counted(*args, **kwargs):
        steps.append(1)
        return step(*args, **kwargs)

    return counted


@pytest.mark.ray
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_is_said(trial, cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Exception, match="cuda"):
        measure_gpu_memory(trial())
    cli.write("shared.yaml", STUDY)
    plan = cli.inside("ablate", "shared.yaml", "--dry-run")
    assert "1 CPU and a measured share of a GPU" in plan.out
    answer = cli("ablate", "shared.yaml")
    assert answer.code == 1
    assert "resources.gpu: a trial asks for 1 GPU, this machine has 0" in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.ray
@pytest.mark.skipif(not torch.cuda.is_available(), reason="it takes a GPU")
def test_on_a_gpu_several_trials_share_it(trial, cli: CommandLine) -> None:
    total, peak = measure_gpu_memory(trial())
    assert 0 < peak < total
    cli.write("shared.yaml", STUDY)
    answer = cli("ablate", "shared.yaml")
    assert answer.code == 0, answer.err
    assert "fit one with a margin of 10%" in answer.out


@pytest.mark.parametrize("gpu", ["automatic", "-1", "1.5"])
def test_another_word_is_refused(cli: CommandLine, gpu: str) -> None:
    cli.write("shared.yaml", STUDY.replace("auto", gpu))
    answer = cli.inside("ablate", "shared.yaml", "--dry-run")
    assert answer.code == 2
    assert "shared.yaml:4" in answer.err
    assert "resources.gpu" in answer.err
