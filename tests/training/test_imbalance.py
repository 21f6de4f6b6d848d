"""Measures of imbalance and robustness against values by hand, brute force and scikit-learn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from ibml.common.rng import stream_seed
from ibml.config.components.registry import FUSIONS
from ibml.config.metrics.names import list_measure_metrics, list_table_metrics, list_timed_measures
from ibml.config.metrics.registry import NOISE_LEVELS
from ibml.config.trial import TrialConfig
from ibml.data.base import Dataset, Split
from ibml.inputs import Sequences
from ibml.methods import Precision
from ibml.training.device import use_deterministic_settings
from ibml.training.measures.base import MeasuredModel
from ibml.training.measures.calibration import compute_calibration_error
from ibml.training.measures.complementarity import compute_deviations
from ibml.training.measures.computation import compute_measures
from ibml.training.measures.discrepancy import discrepancy
from ibml.training.probes import STRENGTHS, fit_probe
from ibml.training.serialization import pack_state, unpack_state
from ibml.training.trainer import Trainer, train
from ibml.training.trial_result import TrialResult
from tests.data.miniatures import miniature

Build = Callable[..., TrialConfig]
Arrays = dict[str, np.ndarray]

ALL = ["calibration", "complementarity", "discrepancy", "missing", "noise", "shapley"]
VIEWS = ("pix", "zer", "fou")
SMALL = {"default": {"type": "mlp", "hidden": [6], "features": 4}}


def classes_of(samples: int, widths: Sequence[int], seed: int, shift: float) -> Split:
    """Vectors whose means depend on the class, in units that differ from modality to modality."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(samples) % 3)
    inputs = {}
    for place, (name, width) in enumerate(zip(VIEWS, widths, strict=False)):
        means = np.random.default_rng(place).normal(size=(3, width))[labels]
        inputs[name] = ((1 + place) * (means + generator.normal(size=means.shape) + shift)).astype(
            np.float32
        )
    return Split(inputs, labels.astype(np.int64))


def dataset(*widths: int) -> Dataset:
    """Three splits that differ in size and a little in their means."""
    parts = [
        classes_of(size, widths, seed, seed / 10) for seed, size in ((1, 96), (2, 30), (3, 43))
    ]
    return Dataset(("0", "1", "2"), *parts)


def configured(
    trial: Build, measures: Sequence[str], modalities: int = 3, **parts: Any
) -> TrialConfig:
    trainer = {
        "epochs": 2,
        "batch_size": 16,
        "eval_batch_size": 20,
        "device": "cpu",
        "precision": "float64",
    }
    return trial(
        **{
            "data": {"type": "mfeat", "views": list(VIEWS[:modalities])},
            "encoders": SMALL,
            "method": {"type": "joint"},
            "optimizer": {"type": "adam", "lr": 0.02},
            "trainer": {**trainer, "measures": list(measures), **parts.pop("trainer", {})},
            **parts,
        }
    )


def trained(config: TrialConfig, data: Dataset) -> tuple[Trainer, TrialResult]:
    trainer = Trainer(config, data)
    rows = [trainer.run_epoch() for _ in range(config.trainer.epochs)]
    return trainer, trainer.build_result(rows)


def measured(trainer: Trainer) -> dict[str, float]:
    """The measures of the weights as they are."""
    splits = (trainer.train_split, trainer.val_split, trainer.test_split)
    with use_deterministic_settings(trainer.device, 1):
        return compute_measures(
            MeasuredModel(trainer.config, trainer.model, splits, trainer.precision)
        )


@torch.no_grad()
def features(trainer: Trainer, split: Split) -> list[Tensor]:
    """z_1 .. z_M of a split, one modality after another."""
    model, dtype = trainer.model.eval(), trainer.precision.dtype
    inputs = {name: torch.from_numpy(values).to(dtype) for name, values in split.inputs.items()}
    with trainer.precision.autocast:
        return [model.encoders[name](inputs[name]) for name in model.modalities]


@torch.no_grad()
def accuracy_with(trainer: Trainer, data: Dataset, kept: set[int]) -> float:
    """Compute v(S) by hand: fuse the test features, with one vector for all features outside S."""
    given = [z.double().mean(0) for z in features(trainer, data.train)]
    z = [
        z if m in kept else given[m].to(z.dtype).repeat(len(z), 1)
        for m, z in enumerate(features(trainer, data.test))
    ]
    with trainer.precision.autocast:
        predicted = trainer.model.fusion(z).argmax(1)
    return float((predicted.numpy() == data.test.labels).mean())


PARTS = [
    *({"fusion": {"type": name}} for name in FUSIONS),
    *({"method": {"type": name}} for name in ("mla", "lfm", "mmcosine")),
    {"method": {"type": "recon_boost", "stage_epochs": 1, "correct_epochs": 1}},
]


@pytest.mark.parametrize(
    "parts", PARTS, ids=lambda part: "-".join(p["type"] for p in part.values())
)
@pytest.mark.parametrize("precision", ["float64", "bf16"])
def test_shapley_values_are_means_over_all_orders_of_joining(
    trial: Build, parts: dict, precision: str
) -> None:
    data = dataset(5, 4, 6)
    config = configured(trial, ["shapley", "missing"], trainer={"precision": precision}, **parts)
    trainer, result = trained(config, data)
    subsets = [kept for size in range(4) for kept in combinations(range(3), size)]
    worth = {kept: accuracy_with(trainer, data, set(kept)) for kept in subsets}
    orders = list(permutations(range(3)))
    near = (
        1e-12 if precision == "float64" else 1.5 / 43
    )  # half precision may tip a sample where batches differ in size
    for m, name in enumerate(VIEWS):
        gains = [
            worth[tuple(sorted(order[: order.index(m) + 1]))]
            - worth[tuple(sorted(order[: order.index(m)]))]
            for order in orders
        ]
        assert result.metrics[f"test.shapley.{name}"] == pytest.approx(
            sum(gains) / len(orders), abs=near
        )
        others = tuple(other for other in range(3) if other != m)
        assert result.metrics[f"test.missing.{name}"] == pytest.approx(worth[others], abs=near)
    total = sum(result.metrics[f"test.shapley.{name}"] for name in VIEWS)
    assert total == pytest.approx(result.metrics["test.accuracy"] - worth[()], abs=near)
    assert len(set(worth.values())) > 3, "the subsets hardly differ, so that nothing was compared"


def test_the_mean_that_stands_in_is_that_of_training(trial: Build) -> None:
    data = dataset(5, 4)
    config = configured(trial, ["missing"], 2, trainer={"epochs": 1})
    trainer = Trainer(config, data)
    trainer.run_epoch()
    weights = [torch.zeros(3, 4, dtype=torch.float64), torch.zeros(3, 4, dtype=torch.float64)]
    weights[0][0] = (
        1.0  # class 0 where the first modality's features sum to more than the bias of class 1 says
    )
    head = trainer.model.fusion.head
    mean = features(trainer, data.train)[0].sum(1).mean()
    for bias, expected in ((float(mean) - 1e-3, 0), (float(mean) + 1e-3, 1)):
        with torch.no_grad():
            head.weight.copy_(torch.cat(weights, 1))
            head.bias.copy_(torch.tensor([0.0, bias, -1e3]))
        assert measured(trainer)["test.missing.pix"] == pytest.approx(
            np.mean(data.test.labels == expected), abs=1e-12
        )


def test_calibration_error_by_hand() -> None:
    """Two classes with confidences 0.6 (wrong), 0.65, 0.9 and 0.9 (right)."""
    confidences, right = [0.62, 0.65, 0.9, 0.9], [0, 1, 1, 1]
    logits = torch.tensor([[math.log(p), math.log(1 - p)] for p in confidences])
    labels = torch.tensor([0 if ok else 1 for ok in right])
    # bins (9/15, 10/15] and (13/15, 14/15]
    expected = 0.5 * abs(0.5 - 0.635) + 0.5 * abs(1 - 0.9)
    assert compute_calibration_error(logits, labels) == pytest.approx(expected, abs=1e-6)


def test_calibration_error_of_many_predictions_is_that_of_numpy() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(500, 4)) * generator.uniform(0, 8, size=(500, 1))
    labels = generator.integers(0, 4, 500)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    bins = np.digitize(confidence, np.linspace(0, 1, 16), right=True)
    expected = sum(
        (bins == b).mean() * abs(right[bins == b].mean() - confidence[bins == b].mean())
        for b in np.unique(bins)
    )
    assert compute_calibration_error(
        torch.from_numpy(logits), torch.from_numpy(labels)
    ) == pytest.approx(expected, abs=1e-12)
    certain = torch.tensor([[50.0, 0.0]] * 4)
    assert compute_calibration_error(certain, torch.tensor([0, 0, 0, 1])) == pytest.approx(
        0.25, abs=1e-12
    )


def test_the_calibration_of_a_trial_is_that_of_its_joint_prediction(trial: Build) -> None:
    data = dataset(5, 4)
    trainer, result = trained(configured(trial, ["calibration"], 2, fusion={"type": "lmf"}), data)
    with torch.no_grad():
        logits = trainer.model.fusion(features(trainer, data.test))
    expected = compute_calibration_error(logits, torch.from_numpy(data.test.labels))
    assert result.metrics["test.ece"] == pytest.approx(expected, abs=1e-12) != 0


def test_noise_is_of_the_deviation_of_all_training_values(trial: Build) -> None:
    data = dataset(5, 4)
    trainer, result = trained(
        configured(trial, ["noise"], 2, seed=4, fusion={"type": "film"}), data
    )
    model = trainer.model.eval()
    found = {}
    for level, scale in (("low", 0.5), ("medium", 1.0), ("high", 2.0)):
        right = 0
        for number, rows in enumerate(np.split(np.arange(43), [20, 40])):
            generator = torch.Generator().manual_seed(
                stream_seed(4, "noise", "measure", level, number)
            )
            inputs = {}
            for name in ("pix", "zer"):
                values = torch.from_numpy(data.test.inputs[name][rows]).double()
                spread = data.train.inputs[name].astype(np.float64).std()
                inputs[name] = values + scale * spread * torch.randn(
                    values.shape, generator=generator, dtype=torch.float64
                )
            right += int((model(inputs)[0].argmax(1).numpy() == data.test.labels[rows]).sum())
        found[level] = right / 43
    assert {level: result.metrics[f"test.noisy.{level}"] for level in found} == found
    assert len({*found.values(), result.metrics["test.accuracy"]}) > 2, (
        "noise changes too little to be noticed"
    )
    assert list(NOISE_LEVELS.values()) == [0.5, 1.0, 2.0]


class Averaged(nn.Module):
    """Texts to the mean of their words' vectors; ids to the table's, which nobody can ask for."""

    def __init__(self, embeds: bool):
        super().__init__()
        self.table = nn.Embedding(6, 2)
        if embeds:
            self.embed = lambda words: words.map(self.table)

    def forward(self, words: Sequences) -> Tensor:
        words = words.map(self.table) if words.are_ids else words
        kept = words.valid()[..., None]
        return (words.values * kept).sum(1) / kept.sum(1)


class Given:
    """A split of texts as they are."""

    def __init__(self, words: Sequences, labels: Tensor):
        self.words, self.labels, self.specs = words, labels, {}

    def batches(
        self, indices: Sequence[Tensor], *where: object
    ) -> Iterator[tuple[Tensor, dict, Tensor]]:
        for index in indices:
            part = Sequences(self.words.values[index], self.words.lengths[index])
            yield index, {"text": part}, self.labels[index]


class Texts(nn.Module):
    """A model of one modality that says which word vectors it was given."""

    modalities, classes = ("text",), 2

    def __init__(self, embeds: bool):
        super().__init__()
        self.encoder, self.seen = Averaged(embeds), []

    def embed_inputs(self, inputs: dict[str, Sequences]) -> dict[str, Sequences]:
        embed = getattr(self.encoder, "embed", None)
        return {name: embed(words) if embed else words for name, words in inputs.items()}

    def forward(self, inputs: dict[str, Sequences]) -> tuple[Tensor, None]:
        self.seen.append(inputs["text"])
        return self.encoder(inputs["text"]), None


@pytest.mark.parametrize("embeds", [True, False])
def test_texts_have_noise_on_their_word_vectors_and_ids_without_any_have_none(
    trial: Build, embeds: bool
) -> None:
    ids = torch.tensor([[1, 2, 3], [4, 0, 0], [5, 1, 0]])
    lengths = torch.tensor([3, 1, 2])
    split = Given(Sequences(ids, lengths), torch.tensor([0, 1, 0]))
    model = Texts(embeds)
    precision = Precision("float32", torch.device("cpu"))
    compute_measures(
        MeasuredModel(configured(trial, ["noise"]), model, (split, split, split), precision)
    )
    seen = model.seen[2]  # of the highest level
    if not embeds:
        assert torch.equal(seen.values, ids)
        return
    table = model.encoder.table.weight.detach()
    spread = (
        table[[1, 2, 3, 4, 5, 1]].numpy().std()
    )  # of the words that are there, padding left out
    generator = torch.Generator().manual_seed(stream_seed(0, "noise", "measure", "high", 0))
    drawn = torch.randn(3, 3, 2, generator=generator)
    torch.testing.assert_close(seen.values, table[ids] + 2 * spread * drawn, rtol=1e-5, atol=1e-6)
    assert torch.equal(seen.lengths, lengths)


def regression(strength: float, samples: int) -> LogisticRegression:
    """scikit-learn's probe: a sum of losses with penalty 1 / C, solved by Newton's method."""
    return LogisticRegression(C=1 / (strength * samples), solver="newton-cholesky", tol=1e-6)


def test_probes_are_scikit_learns() -> None:
    part = classes_of(60, (5,), 0, 0.0)
    inputs, labels = part.inputs["pix"].astype(np.float64), part.labels
    for strength in STRENGTHS:
        model = regression(strength, 60).fit(inputs, labels)
        with use_deterministic_settings(torch.device("cpu"), 1):
            weights = fit_probe((torch.from_numpy(inputs), torch.from_numpy(labels)), 3, strength)
        expected = model.predict_log_proba(inputs)
        found = (torch.from_numpy(inputs) @ weights[:-1] + weights[-1]).log_softmax(1).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def probed(parts: list[list[np.ndarray]], labels: list[np.ndarray], chosen: Sequence[int]) -> float:
    """Return the test loss of scikit-learn's probe, its strength selected on validation."""
    scaler = StandardScaler().fit(np.concatenate([parts[0][m] for m in chosen], 1))
    train, val, test = (
        scaler.transform(np.concatenate([part[m] for m in chosen], 1)) for part in parts
    )
    losses = []
    for strength in STRENGTHS:
        model = regression(strength, len(train)).fit(train, labels[0])
        losses.append(
            [
                log_loss(y, model.predict_proba(x), labels=[0, 1, 2])
                for x, y in ((val, labels[1]), (test, labels[2]))
            ]
        )
    return min(losses)[1]


def complementarity(trainer: Trainer, data: Dataset) -> list[float]:
    parts = [
        [z.double().numpy() for z in features(trainer, split)]
        for split in (data.train, data.val, data.test)
    ]
    labels = [split.labels for split in (data.train, data.val, data.test)]
    everything = probed(parts, labels, range(len(parts[0])))
    return [
        probed(parts, labels, [other for other in range(len(parts[0])) if other != m]) - everything
        for m in range(len(parts[0]))
    ]


@pytest.mark.parametrize("modalities", [2, 3])
def test_complementarity_is_what_scikit_learns_probes_gain(trial: Build, modalities: int) -> None:
    data = dataset(*(5, 4, 6)[:modalities])
    trainer, result = trained(configured(trial, ["complementarity"], modalities), data)
    found = [result.metrics[f"test.complementarity.{name}"] for name in VIEWS[:modalities]]
    assert found == pytest.approx(complementarity(trainer, data), abs=2e-3)
    assert max(map(abs, found)) > 0.02


def test_a_feature_that_never_changes_in_training_has_no_say_on_test(trial: Build) -> None:
    data = dataset(5, 4)
    data.train.inputs["pix"][:, 0] = 0.1  # whose mean is not exactly 0.1
    data.val.inputs["pix"][:, 0] = 0.1
    data.test.inputs["pix"][:, 0] = np.arange(43)
    as_it_is = {"type": "mlp", "hidden": [], "activation": "identity"}
    encoders = {"pix": {**as_it_is, "features": 5}, "zer": {**as_it_is, "features": 4}}
    config = configured(trial, ["complementarity"], 2, encoders=encoders)
    trainer = Trainer(config, data)
    with torch.no_grad():
        for encoder in trainer.model.encoders.values():
            encoder[0].weight.copy_(torch.eye(len(encoder[0].weight)))
    found = measured(trainer)
    names = ["test.complementarity.pix", "test.complementarity.zer"]
    assert [found[name] for name in names] == pytest.approx(
        complementarity(trainer, data), abs=2e-3
    )
    columns = torch.tensor([[0.1, 1.0], [0.1, 2.0], [0.1, 3.0]])
    assert compute_deviations(columns).tolist() == [1.0, 1.0]


def test_discrepancy_by_hand() -> None:
    assert float(discrepancy(torch.tensor([[2.0, 1.0, 1.5], [1.0, 4.0, 2.0]]))) == 3.0
    assert float(discrepancy(torch.tensor([[0.5, 0.0]], dtype=torch.float64))) == pytest.approx(
        0.5e8
    )
    assert float(discrepancy(torch.zeros(3, 2))) == 1.0


def test_discrepancy_is_in_the_rows_and_that_of_the_selected_epoch_among_the_results(
    trial: Build,
) -> None:
    data = dataset(5, 4, 6)
    config = configured(trial, ["discrepancy"], trainer={"epochs": 3})
    other = Trainer(config, data)
    expected = []
    for _ in range(3):
        scores = [other.method.observe([log]).scores[0].tolist() for log in other.run_steps()]
        ratios = [max(s) / min(s) for s in scores]
        expected.append(sum(ratios) / len(ratios))
        other.epoch += 1
    _, result = trained(config, data)
    assert [row["train.discrepancy"] for row in result.history] == pytest.approx(expected, rel=1e-9)
    best = int(result.metrics["selected.epoch"])
    assert result.metrics["selected.train.discrepancy"] == pytest.approx(expected[best], rel=1e-9)
    _, without = trained(configured(trial, [], trainer={"epochs": 3}), data)
    assert "train.discrepancy" not in without.history[0]


def timeless(result: TrialResult) -> list[dict[str, float]]:
    return [
        {k: v for k, v in row.items() if not k.startswith("time.")}
        for row in (*result.history, result.metrics)
    ]


def test_measures_change_nothing_else_and_are_the_same_again(trial: Build) -> None:
    data = dataset(5, 4)
    (_, first), (_, again), (_, plain) = (
        trained(configured(trial, m, 2), data) for m in (ALL, ALL, [])
    )
    assert timeless(first) == timeless(again)
    added = {name for measure in ALL for name in list_measure_metrics(measure, VIEWS[:2])} | {
        "train.discrepancy"
    }
    assert [
        {k: v for k, v in row.items() if k not in added} for row in timeless(first)
    ] == timeless(plain)


def test_a_training_that_was_cut_off_comes_to_the_same_measures(trial: Build) -> None:
    data, config = dataset(5, 4), configured(trial, ALL, 2)
    whole, cut, after = (Trainer(config, data) for _ in range(3))
    rows = [whole.run_epoch(), whole.run_epoch()]
    state = [cut.run_epoch()]
    unpack_state(pack_state(cut), after)
    assert timeless(after.build_result([*state, after.run_epoch()])) == timeless(
        whole.build_result(rows)
    )


@pytest.mark.parametrize("method", [{"type": "joint"}, {"type": "unimodal", "modality": "zer"}])
def test_what_is_logged_is_what_the_names_say(trial: Build, method: dict[str, str]) -> None:
    config = configured(trial, ALL, 2, method=method)
    _, result = trained(config, dataset(5, 4))
    names = list_table_metrics(config.modalities, config.trainer.measures)
    logged = set(result.metrics)
    assert set(names) <= logged
    assert {name for name in logged if name.startswith(("test.", "time.", "samples."))} <= set(
        names
    )
    alone = {"test.ece", "test.noisy.low", "test.noisy.medium", "test.noisy.high"}
    further = logged - set(list_table_metrics(config.modalities))
    if method["type"] == "unimodal":
        assert {name for name in further if name.startswith("test.")} == alone
        assert "train.discrepancy" not in result.history[0]
    times = [
        result.metrics[f"time.measure.{name}"]
        for name in list_timed_measures(config.trainer.measures, len(config.modalities))
    ]
    epochs = sum(row["time.epoch"] for row in result.history)
    assert epochs + sum(times) <= result.metrics["time.total"]
    assert min(times) > 0


def test_images_and_texts_in_files_are_measured_too(tmp_path: Path) -> None:
    encoders = {
        "image": {"type": "small_cnn", "channels": [4], "features": 8, "pooling": "average"},
        "text": {"type": "text_gru", "embedding": 4, "hidden": 4, "features": 8},
    }
    trainer = {"epochs": 1, "batch_size": 4, "device": "cpu", "measures": ALL}
    data = miniature("food101", tmp_path / "set")
    config = TrialConfig.model_validate(
        {"data": data, "encoders": encoders, "method": {"type": "joint"}, "trainer": trainer}
    )
    result = train(config)
    names = list_table_metrics(config.modalities, config.trainer.measures)
    assert all(math.isfinite(result.metrics[name]) for name in names)
    assert timeless(result) == timeless(train(config))
