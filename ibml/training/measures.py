"""Measures of imbalance and robustness, from the selected weights and the test split.

- `shapley`: phi_m, exact over all subsets S, of v(S) = accuracy with the features outside S replaced by their mean over
  the training set. They sum to v(all) - v(none).
- `missing`: the accuracy with modality m's feature so replaced.
- `complementarity`: I(Y; Z_m | Z_rest) in nats, as the cross-entropy on test that a linear probe on all frozen features
  gains over one without z_m: a difference of two variational lower bounds, hence an estimate and no bound.
- `calibration`: the expected calibration error of the joint prediction, 15 bins of equal width (Guo et al. 2017).
- `noise`: the accuracy with Gaussian noise on every modality's input, of 0.5, 1 and 2 times the deviation of all of
  that modality's training values. Texts have it on their word vectors; token ids without vectors stay as they are.

`discrepancy` is in the trainer's rows: the mean over an epoch's steps of max_m s_m / min_m s_m (Peng et al. 2022).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor

from ibml.common.rng import stream_seed
from ibml.config.metrics import NOISE_LEVELS, Measure, timed
from ibml.config.trial import TrialConfig
from ibml.data.feed import Feed
from ibml.inputs import Input, Sequences
from ibml.models.multimodal import MultimodalModel
from ibml.statistics.coalitions import members, shapley_weights
from ibml.training.forward_passes import features
from ibml.training.precision import Precision
from ibml.training.probes import held_out_loss

BINS = 15
FLOOR = 1e-8
"""Sums of probabilities are at least so large."""


def calibration_error(logits: Tensor, labels: Tensor) -> float:
    """sum over bins of the share of samples times |accuracy - mean confidence|; logits (n, C), labels (n,)."""
    confidence, predicted = logits.double().softmax(1).max(1)
    right = (predicted == labels).double()
    place = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    sums = torch.zeros(BINS, device=logits.device, dtype=torch.float64).index_add(0, place, right - confidence)
    return float(sums.abs().sum() / len(labels))


def discrepancy(scores: Tensor) -> Tensor:
    """The mean over steps of max_m s_m / min_m s_m, from s, (steps, M)."""
    scores = scores.double().clamp_min(FLOOR)
    return (scores.amax(1) / scores.amin(1)).mean()


class Measures:
    """The measures of a model as it is; what several need is computed once."""

    def __init__(
        self, config: TrialConfig, model: MultimodalModel, splits: tuple[Feed, Feed, Feed], precision: Precision
    ):
        self.config, self.model, self.precision = config, model, precision
        self.train, self.val, self.test = splits

    def all(self) -> dict[str, float]:
        """By name, and the seconds that each took; `time.measure.features` is what several share."""
        found: dict[str, float] = {}
        chosen = timed(self.config.trainer.measures, len(self.model.modalities))
        self.model.eval()
        for measure in chosen:
            began = time.perf_counter()
            if measure == "features":
                _ = self._means, self._tested
                if self.test.labels.device.type == "cuda":
                    torch.cuda.synchronize(self.test.labels.device)  # else the next measure would wait for them
            else:
                found |= {f"test.{name}": value for name, value in self._values(measure).items()}
            found[f"time.measure.{measure}"] = time.perf_counter() - began
        return found

    @torch.no_grad()
    def _values(self, measure: Measure) -> dict[str, float]:
        match measure:
            case "shapley":
                values = self._accuracies(members(len(self.model.modalities)))
                phi = torch.tensor(shapley_weights(len(self.model.modalities)), dtype=torch.float64) @ values
                return self._named("shapley", phi.tolist())
            case "missing":
                count = len(self.model.modalities)
                kept = [[other != m for other in range(count)] for m in range(count)]
                return self._named("missing", self._accuracies(kept).tolist())
            case "complementarity":
                return self._named("complementarity", self._complementarity())
            case "calibration":
                return {"ece": calibration_error(self._joint(), self._tested[1])}
            case "noise":
                return {f"noisy.{level}": self._noisy(level) for level in NOISE_LEVELS}
            case "discrepancy":
                return {}

    def _named(self, name: str, values: Sequence[float]) -> dict[str, float]:
        return {f"{name}.{m}": value for m, value in zip(self.model.modalities, values, strict=True)}

    def _features(self, split: Feed) -> tuple[list[Tensor], Tensor]:
        """The features of a whole split, (N, d_m) each, and its labels, (N,)."""
        batches = torch.arange(len(split.labels)).split(self.config.trainer.eval_batch_size)
        made = list(features(self.model, split, batches, self.precision))
        return [torch.cat(parts) for parts in zip(*(z for _, z, _ in made), strict=True)], split.labels

    @cached_property
    def _trained(self) -> tuple[list[Tensor], Tensor]:
        return self._features(self.train)

    @cached_property
    def _tested(self) -> tuple[list[Tensor], Tensor]:
        return self._features(self.test)

    @cached_property
    def _means(self) -> list[Tensor]:
        return [z.double().mean(0) for z in self._trained[0]]

    def _parts(self, size: int) -> Iterator[tuple[list[Tensor], Tensor]]:
        """The features and labels of the test split, so many samples at a time."""
        z, labels = self._tested
        for *part, of_part in zip(*(values.split(size) for values in z), labels.split(size), strict=True):
            yield part, of_part

    def _joint(self) -> Tensor:
        """The joint logits of the test split, (N, C)."""
        made = []
        for part, _ in self._parts(self.config.trainer.eval_batch_size):
            with self.precision.autocast:
                made.append(self.model.fusion(part))
        return torch.cat(made)

    def _accuracies(self, kept: Sequence[Sequence[bool]]) -> Tensor:
        """The accuracy with each subset of the modalities, the others being their means, (S,)."""
        subsets = torch.tensor(kept, device=self.test.labels.device)
        right = torch.zeros(len(kept), device=subsets.device, dtype=torch.float64)
        # all subsets of a part go through the fusion at once, and take no more memory than an evaluation
        for part, labels in self._parts(max(1, self.config.trainer.eval_batch_size // len(kept))):
            with self.precision.autocast:
                logits = self.model.fusion.subset_logits(part, subsets, self._means)
            right += (logits.argmax(2) == labels).double().sum(1)
        return (right / len(self.test.labels)).cpu()

    def _complementarity(self) -> list[float]:
        splits = [self._trained, self._features(self.val), self._tested]
        deviations = [deviation(z) for z in self._trained[0]]

        def loss(left_out: int | None) -> float:
            chosen = [m for m in range(len(deviations)) if m != left_out]
            parts = [
                (torch.cat([(z[m].double() - self._means[m]) / deviations[m] for m in chosen], 1), labels)
                for z, labels in splits
            ]
            return held_out_loss(parts[0], parts[1], parts[2], self.model.classes)

        whole = loss(None)
        return [loss(m) - whole for m in range(len(deviations))]

    @cached_property
    def _deviations(self) -> list[float]:
        """Of all values of each modality's training inputs; 0 where there are none to change."""
        sums = torch.zeros(len(self.model.modalities), 3, dtype=torch.float64)
        batches = torch.arange(len(self.train.labels)).split(self.config.trainer.eval_batch_size)
        for _, inputs, _ in self.train.batches(batches):
            embedded = self.model.embedded(inputs)
            sums += torch.stack([_moments(embedded[name]) for name in self.model.modalities]).cpu()
        count, total, squares = sums.unbind(1)
        mean = total / count.clamp_min(1)
        return (squares / count.clamp_min(1) - mean**2).clamp_min(0).sqrt().tolist()

    def _noisy(self, level: str) -> float:
        scales = [NOISE_LEVELS[level] * deviation for deviation in self._deviations]
        generator = torch.Generator(device=self.test.labels.device)
        batches = torch.arange(len(self.test.labels)).split(self.config.trainer.eval_batch_size)
        right = torch.zeros((), device=self.test.labels.device, dtype=torch.long)
        for number, (_, inputs, labels) in enumerate(self.test.batches(batches)):
            generator.manual_seed(stream_seed(self.config.seed, "noise", "measure", level, number))
            embedded = self.model.embedded(inputs)
            changed = {
                name: _with_noise(embedded[name], scale, generator)
                for name, scale in zip(self.model.modalities, scales, strict=True)
            }
            with self.precision.autocast:
                joint, _ = self.model(changed)
            right += (joint.argmax(1) == labels).sum()
        return float(right) / len(self.test.labels)


def deviation(values: Tensor) -> Tensor:
    """That of each column, in double precision, and 1 for columns that never change: on other data these may, and would
    be enormous by a deviation of nothing."""
    found = values.double().std(0)
    return torch.where(found > FLOOR * values.double().abs().amax(0), found, torch.ones_like(found))


def _moments(values: Input) -> Tensor:
    """Count, sum and sum of squares of a modality's values, of texts over the steps that they have."""
    if not isinstance(values, Sequences):
        numbers = values.double()
    elif values.are_ids:
        return torch.zeros(3, dtype=torch.float64)
    else:
        numbers = values.values[values.valid()].double()
    return torch.stack([numbers.new_tensor(numbers.numel()), numbers.sum(), numbers.square().sum()]).cpu()


def _with_noise(values: Input, scale: float, generator: torch.Generator) -> Input:
    def noised(numbers: Tensor) -> Tensor:
        drawn = torch.randn(numbers.shape, generator=generator, device=numbers.device, dtype=numbers.dtype)
        return numbers + scale * drawn

    if not isinstance(values, Sequences):
        return noised(values)
    return values if values.are_ids else values.map(noised)
