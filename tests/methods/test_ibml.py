"""BIO and TCM: what they draw, what they add, and when."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from ibml.common.errors import IbmlError
from ibml.common.rng import stream_seed
from ibml.config.trial import TrialConfig
from ibml.inputs import InputSpec, Sequences
from ibml.methods import Batch, Precision, StepLog, build_method
from ibml.methods.base import Outputs
from ibml.models.multimodal import MultimodalModel
from ibml.training.trainer import Trainer, train
from tests.conftest import vectors

Build = Callable[..., TrialConfig]


def trainer_with(
    trial: Build, widths: tuple[int, ...] = (40, 3), samples: int = 400, **method: object
) -> Trainer:
    names = ["pix", "zer", "fou", "kar"][: len(widths)]
    config = trial(
        data={"type": "mfeat", "views": names},
        method={"type": "ibml", **method},
        trainer={"epochs": 60},
    )
    return Trainer(config, vectors(samples, widths))


def whole_batch(trainer: Trainer) -> Batch:
    index = torch.arange(len(trainer.train_split.labels))
    return next(Batch(*batch) for batch in trainer.train_split.batches([index]))


def outputs_of(trainer: Trainer) -> Outputs:
    batch = whole_batch(trainer)
    return trainer.method.forward(batch.inputs, batch.labels, 1)


def test_noised_share_follows_the_probability(trial: Build) -> None:
    trainer = trainer_with(trial, tcm={"rate": 3.0})
    method, batch = trainer.method, whole_batch(trainer)
    method.memory.correct[0, 100:] = False
    rho = torch.tensor([1.6, 0.4])
    counts = []
    for epoch in range(1, 51):
        method.start_epoch(epoch)
        inputs, noised = method.transform(batch, rho, epoch)
        changed = (inputs["pix"] != batch.inputs["pix"]).any(1)
        assert noised.tolist() == [changed.sum().item(), 0]
        assert not changed[100:].any(), "a sample that the memory calls wrong was noised"
        assert torch.equal(inputs["zer"], batch.inputs["zer"]), "a lagging modality was noised"
        counts.append(int(noised[0]))
    # 50 epochs x 100 samples at probability 3 * 1.6 / 10.
    assert stats.binomtest(sum(counts), 5000, 0.48).pvalue > 1e-3


def test_noise_is_one_tensor_with_the_batchs_deviation(trial: Build) -> None:
    trainer = trainer_with(
        trial, widths=(2000, 3), samples=60, tcm={"rate": 10.0, "noise_scale": 2.0}
    )
    batch = whole_batch(trainer)
    sigma = batch.inputs["pix"].std().item()
    deviations = []
    for epoch in range(1, 21):
        trainer.method.start_epoch(epoch)
        inputs, noised = trainer.method.transform(batch, torch.tensor([1.5, 0.5]), epoch)
        noise = (inputs["pix"] - batch.inputs["pix"]).double()
        assert noised[0] == 60
        torch.testing.assert_close(noise, noise[:1].expand_as(noise), rtol=0, atol=1e-5)
        deviations.append(noise[0].std().item())
        assert stats.kstest(noise[0].numpy() / (2 * sigma), "norm").pvalue > 1e-4
    assert np.mean(deviations) == pytest.approx(2 * sigma, rel=0.01)


def test_noise_differs_between_epochs_and_not_between_runs(trial: Build) -> None:
    def noised(epoch: int) -> torch.Tensor:
        trainer = trainer_with(trial, tcm={"rate": 10.0})
        trainer.method.start_epoch(epoch)
        return trainer.method.transform(whole_batch(trainer), torch.tensor([1.5, 0.5]), epoch)[0][
            "pix"
        ]

    assert torch.equal(noised(3), noised(3))
    assert not torch.equal(noised(3), noised(4))


def test_nothing_happens_outside_the_window(trial: Build) -> None:
    trainer = trainer_with(trial, window={"first_epoch": 2, "stop_epoch": 4}, tcm={"rate": 10.0})
    rho, labels = torch.tensor([1.5, 0.5]), trainer.train_split.labels
    outputs = outputs_of(trainer)
    plain = F.cross_entropy(outputs.joint, labels)
    for epoch, active in [(0, False), (1, False), (2, True), (3, True), (4, False)]:
        trainer.method.start_epoch(epoch)
        noised = trainer.method.transform(whole_batch(trainer), rho, epoch)[1]
        loss = trainer.method.loss(outputs, labels, rho, epoch)
        assert (int(noised.sum()) > 0) == active
        assert (loss.item() != plain.item()) == active


def test_bio_adds_the_lagging_modalities_losses(trial: Build) -> None:
    trainer = trainer_with(
        trial, widths=(6, 4, 3), samples=30, bio={"weight": 0.7}, tcm={"rate": 0}
    )
    labels, outputs = trainer.train_split.labels, outputs_of(trainer)
    joint, parts = outputs.joint, outputs.unimodal
    loss = trainer.method.loss(outputs, labels, torch.tensor([1.5, 0.6, 0.9]), 1)
    expected = F.cross_entropy(joint, labels) + 0.7 * (
        F.cross_entropy(parts[1], labels) + F.cross_entropy(parts[2], labels)
    )
    torch.testing.assert_close(loss, expected)


def test_memory_holds_the_last_visit(trial: Build) -> None:
    trainer = trainer_with(trial, widths=(6, 4), samples=20)
    assert torch.equal(trainer.method.memory.probability, torch.ones(2, 20))
    assert trainer.method.memory.correct.all()
    index = torch.tensor([3, 7, 11])
    batch = next(Batch(*batch) for batch in trainer.train_split.batches([index]))
    _, parts = trainer.model(batch.inputs)
    trainer.method.start_epoch(0)
    log = trainer.method.step(batch, 0)
    assert log.rates.tolist() == [1.0, 1.0], "rates come from before the step's own outputs"
    trainer.method.observe([log])
    for m, logits in enumerate(parts):
        probability = logits.softmax(1)[torch.arange(3), batch.labels]
        torch.testing.assert_close(
            trainer.method.memory.probability[m, index], probability.detach()
        )
        assert torch.equal(
            trainer.method.memory.correct[m, index], logits.argmax(1) == batch.labels
        )
    untouched = torch.tensor([i for i in range(20) if i not in index])
    assert (trainer.method.memory.probability[:, untouched] == 1).all()


def test_both_parts_off_is_joint_bit_for_bit(trial: Build) -> None:
    off = train(trial(method={"type": "ibml", "bio": {"weight": 0}, "tcm": {"rate": 0}}))
    joint = train(trial(method={"type": "joint"}))
    assert without_times(off.history) == without_times(joint.history)
    assert without_times([off.metrics]) == without_times([joint.metrics])


def test_a_part_that_is_off_does_not_shift_the_others_draws(trial: Build) -> None:
    noised = []
    for weight in (0.0, 1.0):
        trainer = trainer_with(trial, bio={"weight": weight}, tcm={"rate": 5.0})
        batch, rho = whole_batch(trainer), torch.tensor([1.5, 0.5])
        trainer.method.start_epoch(4)
        outputs = outputs_of(trainer)
        drawn = []
        for _ in range(2):
            drawn.append(trainer.method.transform(batch, rho, 4)[0]["pix"])
            trainer.method.loss(outputs, batch.labels, rho, 4)
        noised.append(torch.stack(drawn))
    assert (noised[0] != batch.inputs["pix"]).any(), "the epoch must be one with noise"
    assert torch.equal(*noised)


VECTORS = torch.tensor(
    [
        [[1.0, 2.0], [3.0, 5.0], [99.0, 99.0]],
        [[2.0, 4.0], [6.0, 1.0], [7.0, 8.0]],
        [[0.0, 2.0], [4.0, 3.0], [99.0, 99.0]],
    ]
)
LENGTHS = torch.tensor([2, 3, 2])


def test_noise_of_texts_has_the_deviation_of_the_first_steps(trial: Build) -> None:
    trainer = trainer_with(trial, widths=(4, 3), samples=3, tcm={"rate": 10.0, "noise_scale": 2.0})
    method, table = trainer.method, VECTORS.clone().requires_grad_()
    batch = Batch(
        torch.arange(3), {"pix": Sequences(table, LENGTHS), "zer": torch.ones(3, 3)}, torch.zeros(3)
    )
    method.memory.correct[0, 1] = False
    method.start_epoch(2)
    inputs, noised = method.transform(batch, torch.tensor([1.5, 0.5]), 2)
    assert noised.tolist() == [2, 0]
    # The first two steps of 1 2 3 5, 2 4 6 1 and 0 2 4 3: mean 2.75, squared distances 34.25.
    sigma = (34.25 / 11) ** 0.5
    generator = torch.Generator().manual_seed(stream_seed(0, "noise", 2))
    torch.rand(2, 3, generator=generator)
    noise = 2 * sigma * torch.randn(3, 2, generator=generator)
    expected = VECTORS + noise * torch.tensor([1.0, 0.0, 1.0])[:, None, None]
    torch.testing.assert_close(inputs["pix"].values, expected)
    assert inputs["pix"].lengths is LENGTHS
    inputs["pix"].values.square().sum().backward()
    torch.testing.assert_close(
        table.grad, 2 * expected
    )  # the noise itself is no function of the vectors


def text_step(
    trial: Build, rate: float, vectors: torch.Tensor | None = None
) -> tuple[MultimodalModel, StepLog]:
    """A step on two texts and two vectors, with noise for the texts where there is a rate."""
    encoders = {"pix": {"type": "text_gru", "embedding": 2, "hidden": 3}, "zer": {"type": "mlp"}}
    config = trial(encoders=encoders, method={"type": "ibml", "tcm": {"rate": rate}})
    model = MultimodalModel(
        config, {"pix": InputSpec((4,), ("a", "b"), vectors), "zer": InputSpec((3,))}, 2
    )
    method = build_method(config, model, 2, Precision("float32", torch.device("cpu")))
    method.memory.probability[1] = 0.1
    method.start_epoch(1)
    texts = Sequences(torch.tensor([[1, 2, 0], [2, 0, 0]]), torch.tensor([2, 1]))
    inputs = {"pix": texts, "zer": torch.ones(2, 3)}
    return model, method.step(Batch(torch.arange(2), inputs, torch.tensor([0, 1])), 1)


@pytest.mark.parametrize("given", [False, True])
def test_a_step_puts_noise_on_word_vectors(
    trial: Build, kinds: Callable[..., None], given: bool
) -> None:
    kinds(pix="text", zer="vector")
    vectors = torch.tensor([[0.0, 0.0], [1.0, 2.0], [3.0, 4.0]]) if given else None
    (plain, without), (model, log) = text_step(trial, 0.0, vectors), text_step(trial, 10.0, vectors)
    assert (without.noised.tolist(), log.noised.tolist()) == ([0, 0], [2, 0])
    assert log.loss != without.loss
    assert log.loss == text_step(trial, 10.0, vectors)[1].loss
    if not given:
        for each in (plain, model):
            gradient = each.encoders["pix"].embedding.weight.grad
            assert (gradient[0] == 0).all()
            assert (gradient[1:] != 0).any(1).all()


def test_token_ids_without_vectors_get_no_noise(trial: Build) -> None:
    trainer = trainer_with(trial, widths=(4, 3), samples=2, tcm={"rate": 10.0})
    texts = Sequences(torch.tensor([[1, 2], [2, 0]]), torch.tensor([2, 1]))
    batch = Batch(torch.arange(2), {"pix": texts, "zer": torch.ones(2, 3)}, torch.zeros(2))
    with pytest.raises(IbmlError, match=r"^method\.tcm: .*'noise'.*'pix'"):
        trainer.method.transform(batch, torch.tensor([1.5, 0.5]), 2)


def test_no_noise_scale_is_tcm_off(trial: Build) -> None:
    trainer = trainer_with(trial, tcm={"rate": 5.0, "noise_scale": 0})
    assert trainer.method.compute_tcm_rate(3) == 0
    trainer.method.start_epoch(3)
    assert trainer.method.transform(whole_batch(trainer), torch.tensor([1.5, 0.5]), 3)[
        1
    ].tolist() == [0, 0]


def without_times(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if not k.startswith("time.")} for row in rows]
