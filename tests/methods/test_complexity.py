"""TCM's perturbation of samples: every kind against counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ibml.inputs import Sequences
from ibml.methods.ibml.config import TCMConfig
from ibml.methods.ibml.input_perturbation import InputPerturbation


def changed(kind: str, values: Any, drawn: list[bool], labels: list[int], **options: Any) -> Any:
    complexity = InputPerturbation(
        TCMConfig(kind=kind, **options), torch.Generator().manual_seed(3)
    )
    return complexity.apply(values, torch.tensor(drawn), torch.tensor(labels))


def test_feature_dropout_takes_its_share_of_the_drawn_samples() -> None:
    values = torch.rand(4, 3, 2000) + 1
    made = changed("feature_dropout", values, [True, False, True, False], [0] * 4, strength=0.3)
    assert torch.equal(made[[1, 3]], values[[1, 3]])
    gone = made[[0, 2]] == 0
    assert gone.double().mean().item() == pytest.approx(0.3, abs=0.015)
    torch.testing.assert_close(made[[0, 2]][~gone], values[[0, 2]][~gone] / 0.7)
    assert not torch.equal(gone[0], gone[1]), "each sample loses values of its own"


def test_modality_dropout_leaves_nothing() -> None:
    values = torch.rand(3, 4) + 1
    made = changed("modality_dropout", values, [True, False, True], [0, 0, 1])
    assert made[[0, 2]].abs().sum() == 0
    assert torch.equal(made[1], values[1])


def test_mixup_takes_another_sample_of_the_class() -> None:
    labels = [0, 1, 0, 2, 1, 0]
    values = torch.arange(6.0)[:, None] * 10
    partners: dict[int, set[int]] = {i: set() for i in range(6)}
    complexity = InputPerturbation(
        TCMConfig(kind="mixup", strength=0.25), torch.Generator().manual_seed(0)
    )
    for _ in range(200):
        made = complexity.apply(values, torch.tensor([True] * 5 + [False]), torch.tensor(labels))
        other = ((made - 0.75 * values) / 0.25 / 10).round().int()[:, 0].tolist()
        for i, j in enumerate(other):
            partners[i].add(j)
    assert partners == {0: {2, 5}, 1: {4}, 2: {0, 5}, 3: {3}, 4: {1}, 5: {5}}


def test_mixup_of_texts_is_over_the_steps_that_both_have() -> None:
    texts = Sequences(
        torch.tensor([[[1.0], [2.0], [3.0]], [[10.0], [0.0], [0.0]]]), torch.tensor([3, 1])
    )
    made = changed("mixup", texts, [True, True], [0, 0], strength=0.5)
    assert made.values[..., 0].tolist() == [[5.5, 2.0, 3.0], [5.5, 0.0, 0.0]]
    assert made.lengths.tolist() == [3, 1]


def test_dropout_of_texts_is_of_their_word_vectors() -> None:
    lengths = torch.tensor([3, 1, 2])
    texts = Sequences(torch.zeros(3, 3, 500), lengths)
    texts.values.masked_fill_(texts.valid()[..., None], 2.0)
    dropped = changed("feature_dropout", texts, [True, True, False], [0] * 3, strength=0.5)
    assert set(dropped.values[0].unique().tolist()) == {0.0, 4.0}
    assert set(dropped.values[1, 0].unique().tolist()) == {0.0, 4.0}
    assert dropped.values[1, 1:].abs().sum() == 0, "what is padded stays 0"
    assert torch.equal(dropped.values[2], texts.values[2])
    gone = changed("modality_dropout", texts, [True, False, False], [0] * 3)
    assert gone.values[0].abs().sum() == 0
    assert torch.equal(gone.values[1:], texts.values[1:])
    assert dropped.lengths.tolist() == gone.lengths.tolist() == [3, 1, 2]


def test_mixup_draws_every_other_sample_of_the_class_equally_often() -> None:
    complexity = InputPerturbation(
        TCMConfig(kind="mixup", strength=1.0), torch.Generator().manual_seed(5)
    )
    values = torch.arange(5.0)[:, None]
    labels, drawn = torch.tensor([0, 0, 1, 0, 0]), torch.tensor([True] * 5)
    firsts = torch.stack([complexity.apply(values, drawn, labels)[0, 0] for _ in range(3000)])
    counts = [int((firsts == j).sum()) for j in range(5)]
    assert counts[0] == counts[2] == 0
    # three standard deviations of a binomial of 3000 at 1/3
    assert all(abs(counts[j] - 1000) < 78 for j in (1, 3, 4)), counts
