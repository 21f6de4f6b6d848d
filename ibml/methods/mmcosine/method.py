"""MMCosine: cosines as logits.

Xu, Feng, Zhang, Hu, "MMCosine: Multi-Modal Cosine Loss Towards Balanced Audio-Visual Fine-Grained
Learning", ICASSP 2023. L = CE(o, y) with o = scale * sum_m cos(z_m, W_m[c]) for each class c,
without bias. Neither long features nor long weights give a modality more influence. The head is
`ibml.methods.mmcosine.head.CosineHead`; o_m = scale * cos(z_m, W_m[c]).

Outside the window the same head computes plain inner products. Hyperparameters: scale, window. Cost
per step: that of joint training. State: the switch of the head, a buffer of the model.
"""

from __future__ import annotations

from ibml.methods.base import Method
from ibml.methods.mmcosine.config import MMCosineConfig
from ibml.methods.mmcosine.head import CosineHead


class MMCosine(Method):
    """Train jointly with a head whose logits are cosines."""

    options: MMCosineConfig

    def uses_unimodal(self, epoch: int) -> bool:
        """Return false: the loss has no gradient with respect to the unimodal logits."""
        return False

    def start_epoch(self, epoch: int) -> None:
        """Switch the head to cosines in the window and to inner products outside it."""
        super().start_epoch(epoch)
        assert isinstance(self.model.fusion, CosineHead)
        self.model.fusion.normalised.fill_(self.active(epoch))
