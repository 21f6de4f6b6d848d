"""Layers that several encoders use."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm


class _SingleValueBatchNorm(_BatchNorm):
    """Batch normalization that also accepts one value per channel in training.

    The last batch of an epoch may be one sample, which has no standard deviation. It is normalized
    by the running statistics.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalize a batch, (n, C, ...)."""
        if self.training and inputs.numel() == inputs.shape[1]:
            return F.batch_norm(
                inputs, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(inputs)


class BatchNorm1d(_SingleValueBatchNorm, nn.BatchNorm1d):
    """Batch normalization of (n, C) or (n, C, L)."""


class BatchNorm2d(_SingleValueBatchNorm, nn.BatchNorm2d):
    """Batch normalization of (n, C, H, W)."""


def average_over_frames(encode: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Encode images, or frames or views whose features are averaged.

    Args:
        encode: Encoder of images, (n, C, H, W) -> (n, d).
        inputs: Images, (n, C, H, W), or frames or views, (n, C, T, H, W).

    Returns:
        Features, (n, d).
    """
    if inputs.dim() == 4:
        return encode(inputs)
    frames = inputs.transpose(1, 2)
    features = encode(frames.flatten(0, 1))
    return features.view(*frames.shape[:2], -1).mean(1)
