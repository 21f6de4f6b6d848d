"""MMCosine: cosines as logits.

Xu, Feng, Zhang, Hu, "MMCosine: Multi-Modal Cosine Loss Towards Balanced Audio-Visual Fine-Grained Learning", ICASSP
2023. L = CE(o, y) with o = scale * sum_m cos(z_m, W_m[c]) for each class c, no bias: neither long features nor long
weights give a modality a greater say. The head is `ibml.methods.mmcosine.head.CosineHead`; o_m = scale * cos(z_m,
W_m[c]).

Outside the window the same head has plain inner products. Hyperparameters: scale, window. Cost of a step: that of joint
training.
"""

from __future__ import annotations

from ibml.methods.base import Method
from ibml.methods.mmcosine.config import MMCosineConfig
from ibml.methods.mmcosine.head import CosineHead


class MMCosine(Method):
    """Joint training of a head of cosines."""

    options: MMCosineConfig

    def uses_unimodal(self, epoch: int) -> bool:
        return False

    def start_epoch(self, epoch: int) -> None:
        super().start_epoch(epoch)
        assert isinstance(self.model.fusion, CosineHead)
        self.model.fusion.normalised.fill_(self.active(epoch))
