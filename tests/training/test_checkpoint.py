"""`selected.ckpt`: a trained model, loaded without its data and without pretrained files."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ibml.common.atomic_files import read_sealed, write_sealed
from ibml.config.trial import TrialConfig
from ibml.data.base import Dataset, Split
from ibml.inputs import Input, InputSpec, Sequences
from ibml.models.encoders.resnet18.encoder import Trunk
from ibml.models.multimodal import MultimodalModel
from ibml.training.checkpoint import TrialCheckpoints, load_model
from ibml.training.checkpoint_retention import SELECTED
from ibml.training.trainer import Trainer
from ibml.training.trial_result import Selection
from tests.conftest import vectors

Build = Callable[..., TrialConfig]
SHAPES = {"pix": (5, 3, 32, 32), "zer": (5, 3, 2, 32, 32)}


def test_a_model_is_loaded_without_the_file_that_it_started_from(
    trial: Build, kinds, tmp_path: Path
) -> None:
    kinds(pix="image", zer="frames")
    path = tmp_path / "w.pth"
    torch.save(Trunk(3, 64).state_dict(), path)
    encoders = {"default": {"type": "resnet18", "weights": str(path)}}
    generator = np.random.default_rng(0)
    inputs = {
        name: generator.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()
    }
    split = Split(inputs, np.arange(5) % 2)
    config = trial(
        encoders=encoders, trainer={"epochs": 2, "batch_size": 4}
    )  # the last batch is one sample
    trainer = Trainer(config, Dataset(("0", "1"), split, split, split))
    trainer.run_epoch()
    saved(trainer, tmp_path)
    path.unlink()
    same_answers(
        trainer.model,
        load_model(tmp_path / SELECTED),
        {n: torch.from_numpy(x) for n, x in inputs.items()},
    )


def test_a_model_of_texts_is_loaded_with_its_words_and_vectors(
    trial: Build, kinds, tmp_path: Path
) -> None:
    trainer = Trainer(trial(), vectors())
    kinds(pix="text", zer="text")
    config = trial(encoders={"default": {"type": "text_gru", "embedding": 2, "hidden": 3}})
    words = ("a", "b")
    trainer.config = config
    trainer.specs = {
        "pix": InputSpec((4,), words, torch.randn(3, 2)),
        "zer": InputSpec((3,), words),
    }
    trainer.model = MultimodalModel(config, trainer.specs, len(trainer.classes))
    trainer.selected = Selection({"epoch": 0}, trainer.model.state_dict())
    saved(trainer, tmp_path)
    texts = Sequences(torch.tensor([[1, 2, 0], [2, 0, 0]]), torch.tensor([2, 1]))
    same_answers(trainer.model, load_model(tmp_path / SELECTED), {"pix": texts, "zer": texts})


def test_a_file_of_before_there_were_texts_is_loaded(trial: Build, tmp_path: Path) -> None:
    trainer = Trainer(trial(), vectors())
    trainer.run_epoch()
    saved(trainer, tmp_path)
    content = torch.load(io.BytesIO(read_sealed(tmp_path / SELECTED)))
    del content["words"]
    write_sealed(tmp_path / SELECTED, partial(torch.save, content))
    same_answers(trainer.model, load_model(tmp_path / SELECTED), trainer.test_split.inputs)


def saved(trainer: Trainer, folder: Path) -> None:
    checkpoints = TrialCheckpoints(folder, trainer.config.trainer)
    checkpoints.save_selected(trainer, {})
    assert checkpoints.take_notes() == []


def same_answers(first: MultimodalModel, second: MultimodalModel, inputs: dict[str, Input]) -> None:
    assert all(
        torch.equal(*answers) for answers in zip(first.eval()(inputs), second(inputs), strict=True)
    )
