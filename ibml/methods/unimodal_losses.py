"""Base class of methods that have a loss per modality."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ibml.config.trial import TrialConfig
from ibml.methods.base import Method, Outputs, ensure_full_precision, label_log_probability
from ibml.models.multimodal import MultimodalModel, initialize_weights, use_init_stream
from ibml.training.precision import Precision


class UnimodalLossMethod(Method):
    """Base class of methods that add a loss per modality, CE(o_m, y).

    The option `heads` names the logits o_m of these losses: `shared`, the unimodal logits of the
    model; `separate`, a linear head per modality, which is trained with the model and not
    evaluated.

    Args:
        trial: Configuration of the trial.
        options: Configuration of the method, with a field `heads`.
        model: Model that the method trains.
        samples: Number of training samples.
        precision: Number formats of training.
    """

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
        """Return true in the window, unless the losses have separate heads."""
        return not len(self.heads) and self.active(epoch)

    def compute_unimodal_losses(self, outputs: Outputs, labels: Tensor) -> Tensor:
        """Compute the loss of each modality.

        Args:
            outputs: Result of the forward pass of n samples.
            labels: Class indices, (n,).

        Returns:
            CE(o_m, y), (M,).
        """
        if not len(self.heads):
            return -outputs.log_probability.mean(1)
        logits = []
        with self.precision.autocast:
            for head, features in zip(self.heads, outputs.features, strict=True):
                logits.append(ensure_full_precision(head(features)))
        return -label_log_probability(torch.stack(logits), labels).mean(1)
