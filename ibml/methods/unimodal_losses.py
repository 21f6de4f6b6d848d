"""What methods share that give every modality a loss of its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ibml.config.trial import TrialConfig
from ibml.methods.base import Method, Outputs, full, label_log_probability
from ibml.models.multimodal import MultimodalModel, initialize_weights, use_init_stream
from ibml.training.precision import Precision


class UnimodalLossMethod(Method):
    """A method whose options say where the unimodal logits of its losses come from. `heads: shared`: the model's o_m.
    `separate`: a linear head per modality, which is trained along and not evaluated."""

    def __init__(
        self,
        trial: TrialConfig,
        options: Any,
        model: MultimodalModel,
        samples: int,
        precision: Precision,
    ):
        super().__init__(trial, options, model, samples, precision)
        if options.heads == "separate":
            like = self.memory.probability
            for name in model.modalities:
                with use_init_stream(trial.seed, "own_head", name):
                    head = nn.Linear(trial.get_encoder(name).features, model.classes)
                    initialize_weights(head)
                self.heads.append(head.to(like.device, like.dtype))

    def uses_unimodal(self, epoch: int) -> bool:
        return not len(self.heads) and self.active(epoch)

    def compute_unimodal_losses(self, outputs: Outputs, labels: Tensor) -> Tensor:
        """CE(head_m(z_m), y) of each modality, (M,)."""
        if not len(self.heads):
            return -outputs.log_probability.mean(1)
        with self.precision.autocast:
            logits = [full(head(z)) for head, z in zip(self.heads, outputs.features, strict=True)]
        return -label_log_probability(torch.stack(logits), labels).mean(1)
