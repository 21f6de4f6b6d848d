"""Training on data in files: the same numbers however they are read, and from a checkpoint on."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ibml import data
from ibml.common.errors import IbmlError
from ibml.config.trial import TrialConfig
from ibml.study.engine.worker import TrialWorker
from ibml.training.checkpoint import TrialCheckpoints, load_model
from ibml.training.serialization import pack_state, unpack_state
from ibml.training.trainer import Trainer, train
from tests.conftest import CommandLine
from tests.data.miniatures import miniature

SMALL = {"type": "small_cnn", "channels": [4], "features": 8, "pooling": "average"}


def configured(root: Path, **trainer: object) -> TrialConfig:
    parts = miniature("cremad", root)
    settings = {"epochs": 3, "batch_size": 2, "eval_batch_size": 3, "keep": "best", **trainer}
    return TrialConfig.model_validate(
        {"data": parts, "encoders": {"default": SMALL}, "trainer": settings}
    )


def timeless(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if not k.startswith("time.")} for row in rows]


def test_numbers_do_not_depend_on_how_many_threads_read(tmp_path: Path) -> None:
    results = [train(configured(tmp_path / "set", loading_threads=threads)) for threads in (1, 4)]
    assert timeless(results[0].history) == timeless(results[1].history)
    assert timeless([results[0].metrics]) == timeless([results[1].metrics])


def test_what_is_drawn_differs_from_epoch_to_epoch_and_from_seed_to_seed(tmp_path: Path) -> None:
    config = configured(tmp_path / "set")
    for place, frame in enumerate(sorted((tmp_path / "set").rglob("*.jpg"))):
        Image.fromarray(np.random.default_rng(place).integers(0, 255, (8, 8, 3), np.uint8)).save(
            frame
        )
    inputs = []
    for seed, epoch in ((0, 0), (0, 1), (0, 0), (1, 0)):
        trainer = Trainer(config.model_copy(update={"seed": seed}))
        batch = next(trainer.train_split.batches([torch.arange(2)], epoch))
        inputs.append(batch[1]["video"])
    assert torch.equal(inputs[0], inputs[2])
    assert not torch.equal(inputs[0], inputs[1])
    assert not torch.equal(inputs[0], inputs[3])


def test_a_loaded_trainer_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    config = configured(tmp_path / "set")
    whole, before, after = (Trainer(config) for _ in range(3))
    expected = [whole.run_epoch() for _ in range(3)]
    rows = [before.run_epoch()]
    unpack_state(pack_state(before), after)
    assert timeless([*rows, after.run_epoch(), after.run_epoch()]) == timeless(expected)


def test_dropout_is_the_same_from_a_checkpoint_on_and_disturbs_nobody(tmp_path: Path) -> None:
    encoders = {
        "image": {**SMALL},
        "points": {"type": "dgcnn", "k": 2, "features": 8, "dropout": 0.5},
    }
    parts = {"data": miniature("mnist3d", tmp_path / "set"), "encoders": encoders}
    config = TrialConfig.model_validate({**parts, "trainer": {"epochs": 2, "batch_size": 4}})
    outside = torch.random.get_rng_state()
    whole, before, after = (Trainer(config) for _ in range(3))
    expected = [whole.run_epoch() for _ in range(2)]
    first = before.run_epoch()
    unpack_state(pack_state(before), after)
    torch.rand(5)
    assert timeless([first, after.run_epoch()]) == timeless(expected)
    torch.random.set_rng_state(outside)


def test_a_modality_alone_reads_that_alone(tmp_path: Path) -> None:
    config = configured(tmp_path / "set")
    alone = TrialConfig.model_validate(
        {**config.model_dump(mode="json"), "method": {"type": "unimodal", "modality": "audio"}}
    )
    trainer = Trainer(alone)
    assert list(trainer.specs) == ["audio"]
    assert trainer.run_epoch()["train.loss"] > 0


def test_a_worker_with_other_data_does_not_train(tmp_path: Path) -> None:
    config = configured(tmp_path / "set")
    worker = TrialWorker()
    task = {
        "task": 0,
        "trial": config.model_dump(mode="json"),
        "folder": str(tmp_path / "trial"),
        "rungs": [],
    }
    worker.assign({**task, "data": "0" * 64})
    report = worker.step()
    assert "is not the one that the study was started with" in report["error"]
    worker.assign({**task, "data": data.fingerprint(config.data)})
    while not (report := worker.step())["done"]:
        pass
    assert report["status"] == "finished"
    model = load_model(tmp_path / "trial" / "selected.ckpt")
    assert model.labels == ("cat", "dog")
    assert model({"audio": torch.zeros(2, 1, 33, 26), "video": torch.zeros(2, 3, 2, 8, 8)})[
        0
    ].shape == (2, 2)


def test_a_data_set_with_damage_ends_a_trial_in_words(tmp_path: Path) -> None:
    config = configured(tmp_path / "set")
    next((tmp_path / "set" / "CREMA-D" / "AudioWAV").glob("*.wav")).unlink()
    with pytest.raises(
        IbmlError, match=r"1 issue.*\n  t.*\.csv:\d+: CREMA-D/AudioWAV/.*does not exist"
    ):
        train(config)


def test_a_model_of_given_word_vectors_is_loaded_without_their_file(tmp_path: Path) -> None:
    vectors = tmp_path / "glove.txt"
    vectors.write_text("".join(f"word{n} {n} {n + 1}\n" for n in range(11)))
    parts = miniature("food101", tmp_path / "set")
    parts |= {"text": {**parts["text"], "vectors": str(vectors)}}
    encoders = {
        "image": SMALL,
        "text": {"type": "text_gru", "embedding": 2, "hidden": 4, "features": 4},
    }
    config = TrialConfig.model_validate(
        {"data": parts, "encoders": encoders, "trainer": {"epochs": 2}}
    )
    trainer, checkpoints = Trainer(config), TrialCheckpoints(tmp_path / "trial", config.trainer)
    rows = [trainer.run_epoch(), trainer.run_epoch()]
    checkpoints.save_selected(trainer, trainer.build_result(rows).metrics)
    vectors.unlink()
    model = load_model(tmp_path / "trial" / "selected.ckpt")
    own = dict(trainer.model.state_dict())
    assert all(torch.equal(value, own[name]) for name, value in model.state_dict().items())


@pytest.mark.slow
def test_a_run_says_how_many_samples_were_left_out(cli: CommandLine) -> None:
    miniature("cremad", cli.folder / "set")
    sorted((cli.folder / "set" / "CREMA-D" / "AudioWAV").glob("*.wav"))[0].unlink()
    small = [
        "data.audio={rate: 8000, window: 64, hop: 32, seconds: 0.1}",
        "trainer.epochs=2",
        "data.validation=0.34",
    ]
    given = [
        word for text in ["data.root=set", "data.on_missing=skip", *small] for word in ("-o", text)
    ]
    answer = cli("train", "cremad_small", *given)
    assert answer.code == 0, answer.err
    assert "1 sample left out; the first: train.csv:1: CREMA-D/AudioWAV/" in answer.out
    with closing(sqlite3.connect(cli.folder / "mlflow.db")) as database:
        tags = dict(database.execute("select key, value from tags where key like 'ibml.data.%'"))
    assert tags == {"ibml.data.classes": '["cat", "dog"]', "ibml.data.skipped": "1"}
