"""Metrics of one split, from logits that are already computed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def evaluation(joint: Tensor, unimodal: Tensor, labels: Tensor, modalities: Sequence[str]) -> dict[str, float]:
    """Loss, accuracy, macro-F1, accuracy per modality, and their gap.

    Joint logits (n, C), unimodal logits (M, n, C), labels (n,). Names as in `ibml.config.metrics`.
    """
    each = (unimodal.argmax(2) == labels).double().mean(1)
    values = [
        F.cross_entropy(joint, labels).double(),
        (joint.argmax(1) == labels).double().mean(),
        macro_f1(joint.argmax(1), labels, joint.shape[1]),
        *each,
    ]
    names = ["loss", "accuracy", "macro_f1", *(f"accuracy.{name}" for name in modalities)]
    if len(modalities) > 1:
        names.append("gap")
        values.append(each.max() - each.min())
    return dict(zip(names, torch.stack(values).tolist(), strict=True))


def macro_f1(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Mean over classes of F1 = 2 tp / (predicted + actual); classes in neither are left out."""
    true = torch.bincount(labels[predicted == labels], minlength=classes).double()
    total = (torch.bincount(predicted, minlength=classes) + torch.bincount(labels, minlength=classes)).double()
    return (2 * true[total > 0] / total[total > 0]).mean()
