"""What several encoders are made of."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm


class _SingleValueBatchNorm(_BatchNorm):
    """Batch normalisation that takes one value per channel too, by the running statistics: an epoch's last batch may
    be one sample, which has no deviation."""

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training and inputs.numel() == inputs.shape[1]:
            return F.batch_norm(
                inputs, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(inputs)


class BatchNorm1d(_SingleValueBatchNorm, nn.BatchNorm1d):
    """Of (n, C) or (n, C, L)."""


class BatchNorm2d(_SingleValueBatchNorm, nn.BatchNorm2d):
    """Of (n, C, H, W)."""


def average_over_frames(encode: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Features of images (n, C, H, W), or of frames or views (n, C, T, H, W) the mean of theirs."""
    if inputs.dim() == 4:
        return encode(inputs)
    frames = inputs.transpose(1, 2)
    features = encode(frames.flatten(0, 1))
    return features.view(*frames.shape[:2], -1).mean(1)
