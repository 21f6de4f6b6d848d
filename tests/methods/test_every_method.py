"""Properties of every method in the registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.utils._python_dispatch import TorchDispatchMode

from ibml.config.components.registry import FUSIONS, METHODS
from ibml.config.trial import TrialConfig
from ibml.methods import Batch
from ibml.training.checkpoint import TrialCheckpoints, load_model
from ibml.training.serialization import pack_state, unpack_state
from ibml.training.trainer import Trainer, train
from ibml.training.trial_result import EpochMetrics
from tests.conftest import vectors
from tests.data.miniatures import miniature
from tests.methods.steps import check_that_it_goes_on, timeless

Build = Callable[..., TrialConfig]

SOONER: dict[str, dict[str, Any]] = {
    "unimodal": {"modality": "zer"},
    "g_blending": {"super_epoch": 2},
    "recon_boost": {"stage_epochs": 1, "correct_epochs": 1},
    "modality_valuation": {"warmup": 1},
}
"""Options with which a method acts in a training of few epochs."""
NAMES = [name for name in METHODS if name != "unimodal"]
VIEWS = ["pix", "zer", "fou"]


def method(name: str, **options: Any) -> dict[str, Any]:
    return {"type": name, **SOONER.get(name, {}), **options}


def configured(
    trial: Build, name: str, modalities: int = 2, epochs: int = 4, **parts: Any
) -> TrialConfig:
    options = parts.pop("options", {})
    encoders = {"default": {"type": "mlp", "hidden": [8], "features": 4}}
    trainer = {"epochs": epochs, "batch_size": 7, "device": "cpu", **parts.pop("trainer", {})}
    given = {"encoders": encoders, "optimizer": {"type": "sgd", "lr": 0.02}, **parts}
    return trial(
        data={"type": "mfeat", "views": VIEWS[:modalities]},
        method=method(name, **options),
        trainer=trainer,
        **given,
    )


def allowed(trial: Build, name: str) -> list[str]:
    kinds = configured(trial, name).method.fusions
    return [fusion for fusion in FUSIONS if kinds is None or fusion in kinds]


@pytest.mark.parametrize("modalities", [2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_it_trains_with_every_fusion_that_it_takes(
    trial: Build, name: str, modalities: int
) -> None:
    dataset = vectors(widths=(5, 3, 4)[:modalities])
    for fusion in allowed(trial, name):
        trainer = Trainer(configured(trial, name, modalities, fusion={"type": fusion}), dataset)
        losses = []
        while not trainer.done:
            losses.append(trainer.run_epoch()["train.loss"])
        assert not trainer.diverged
        assert trainer.finish()["samples.total"] >= 4 * 24
        assert len(set(losses)) == 4


@pytest.mark.parametrize("name", NAMES)
def test_a_fusion_that_it_does_not_take_is_refused_with_the_reason(trial: Build, name: str) -> None:
    for fusion in set(FUSIONS) - set(allowed(trial, name)):
        with pytest.raises(
            ValidationError, match=rf"fusion\.type: {name} .*: fusion\.type must be concat"
        ):
            configured(trial, name, fusion={"type": fusion})


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("name", NAMES)
def test_a_loaded_trainer_goes_on_as_if_it_had_not_stopped(
    trial: Build, name: str, optimizer: str
) -> None:
    check_that_it_goes_on(
        configured(trial, name, epochs=6, optimizer={"type": optimizer, "lr": 0.02})
    )


@pytest.mark.parametrize("precision", ["bf16", "fp16", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_it_trains_in_every_number_format(trial: Build, name: str, precision: str) -> None:
    trainer = Trainer(configured(trial, name, trainer={"precision": precision}), vectors())
    losses = [trainer.run_epoch()["train.loss"] for _ in range(4)]
    assert np.isfinite(losses).all()
    if precision != "fp16":  # which leaves steps out until its scale fits
        plain = Trainer(configured(trial, name), vectors())
        assert losses == pytest.approx([plain.run_epoch()["train.loss"] for _ in range(4)], rel=0.1)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "joint"])
def test_in_a_training_that_ends_before_its_window_it_is_plain_joint(
    trial: Build, name: str
) -> None:
    dataset = vectors()
    late = Trainer(
        configured(trial, name, epochs=2, options={"window": {"first_epoch": 2}}), dataset
    )
    joint = Trainer(configured(trial, "joint", epochs=2), dataset)
    for _ in range(2):
        assert timeless([late.run_epoch()]) == timeless([joint.run_epoch()])
    assert timeless([late.finish()]) == timeless([joint.finish()])


@pytest.mark.parametrize("name", [n for n in NAMES if n != "joint"])
def test_outside_its_window_it_is_plain_joint(trial: Build, name: str) -> None:
    dataset = vectors()

    def rows(kind: str, **options: Any) -> list[EpochMetrics]:
        trainer = Trainer(configured(trial, kind, options=options), dataset)
        return timeless([trainer.run_epoch() for _ in range(4)])

    at_once = {"warmup": 0} if name == "modality_valuation" else {}
    late = rows(name, window={"first_epoch": 2, "stop_epoch": 3}, **at_once)
    # A method with its own head is another model. Its plain training has a window in the future.
    own_head = configured(trial, name).method.head is not None
    plain = rows(name, window={"first_epoch": 3}) if own_head else rows("joint")
    assert late[:2] == plain[:2]
    assert late[2] != plain[2]


class ReadsTheDevice(TorchDispatchMode):
    """Refuse operations that wait for a GPU: reading numbers and shapes that depend on values.

    The lengths of texts may be read, because these integers are on the CPU.
    """

    WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero")

    def __init__(self, texts: bool = False):
        super().__init__()
        self.texts = texts

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::")
        length = self.texts and name == "_local_scalar_dense" and args[0].dtype == torch.int64
        assert name not in self.WAITING or length, f"{name} in a step"
        assert not (
            name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])
        ), "a mask as index"
        return func(*args, **(kwargs or {}))


@contextmanager
def epoch_of(trainer: Trainer, epoch: int) -> Iterator[list[Batch]]:
    trainer.model.train()
    trainer.method.start_epoch(epoch)
    order = trainer.method.order(epoch).split(trainer.config.trainer.batch_size)
    yield [Batch(*batch) for batch in trainer.train_split.batches(order, epoch)]


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["concat", "film"])
@pytest.mark.parametrize("name", NAMES)
def test_no_step_waits_for_the_device(trial: Build, name: str, fusion: str) -> None:
    if fusion not in allowed(trial, name):
        return
    trainer = Trainer(
        configured(trial, name, modalities=3, fusion={"type": fusion}), vectors(widths=(5, 3, 4))
    )
    for epoch in range(3):
        with epoch_of(trainer, epoch) as batches:
            for batch in batches:
                with ReadsTheDevice():
                    trainer.method.observe([trainer.method.update(batch, epoch)])


ENCODERS = {
    "image": {"type": "small_cnn", "channels": [4], "features": 8, "pooling": "average"},
    "points": {"type": "dgcnn", "k": 2, "features": 8, "dropout": 0.5},
    "text": {"type": "text_gru", "embedding": 4, "hidden": 4, "features": 8},
}


def on_files(
    data: str, name: str, folder: Path, device: str = "cpu", **trainer: Any
) -> TrialConfig:
    used = {"food101": ("image", "text"), "mnist3d": ("image", "points")}[data]
    return TrialConfig.model_validate(
        {
            "data": miniature(data, folder),
            "encoders": {part: ENCODERS[part] for part in used},
            "method": method(name),
            "trainer": {"epochs": 3, "batch_size": 4, "device": device, **trainer},
        }
    )


@pytest.mark.parametrize("data", ["food101", "mnist3d"])
@pytest.mark.parametrize("name", NAMES)
def test_no_step_on_files_waits_for_the_device(name: str, data: str, tmp_path: Path) -> None:
    trainer = Trainer(on_files(data, name, tmp_path))
    for epoch in range(3):
        with epoch_of(trainer, epoch) as batches:
            for batch in batches:
                with ReadsTheDevice(texts=data == "food101"):
                    trainer.method.observe([trainer.method.update(batch, epoch)])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", NAMES)
def test_no_step_synchronises_with_a_gpu(name: str, tmp_path: Path) -> None:
    for data, precision in product(("food101", "mnist3d"), ("float32", "bf16", "fp16")):
        trainer = Trainer(
            on_files(data, name, tmp_path / data / precision, "cuda", precision=precision)
        )
        trainer.run_epoch()
        for epoch in (1, 2):
            trainer.model.train()
            trainer.method.start_epoch(epoch)
            order = trainer.method.order(epoch).split(4)
            torch.cuda.set_sync_debug_mode("error")
            try:
                for batch in trainer.train_split.batches(order, epoch):
                    trainer.method.observe([trainer.method.update(Batch(*batch), epoch)])
            finally:
                torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("data", ["food101", "mnist3d"])
@pytest.mark.parametrize("name", NAMES)
def test_it_trains_on_texts_and_on_points_and_comes_back(
    name: str, data: str, tmp_path: Path
) -> None:
    config = on_files(data, name, tmp_path / "set")
    whole, before, after = (Trainer(config) for _ in range(3))
    expected = [whole.run_epoch() for _ in range(3)]
    rows = [before.run_epoch(), before.run_epoch()]
    unpack_state(pack_state(before), after)
    assert timeless([*rows, after.run_epoch()]) == timeless(expected)
    final = whole.finish()
    checkpoints = TrialCheckpoints(tmp_path / "kept", config.trainer)
    checkpoints.save_selected(whole, final)
    loaded = load_model(tmp_path / "kept" / "selected.ckpt")
    _, inputs, _ = next(whole.test_split.batches([torch.arange(2)]))
    whole.model.eval()
    for mine, theirs in zip(loaded(inputs), whole.model(inputs), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.slow
def test_real_digits_are_told_apart_by_every_method(trial: Build) -> None:
    for name in NAMES:
        result = train(trial(method=method(name), trainer={"epochs": 4}))
        assert result.status == "finished"
        assert result.metrics["test.accuracy"] > 0.7, name
