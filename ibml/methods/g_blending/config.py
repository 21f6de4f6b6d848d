"""Configuration of gradient blending. `ibml.methods.g_blending.method` has the formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ibml.config.methods.base import JOINT, ComparingMethodConfig

if TYPE_CHECKING:
    from ibml.config.trial import TrialConfig


class GBlendingConfig(ComparingMethodConfig):
    """Gradient blending by overfitting-to-generalization ratios (Wang et al., CVPR 2020)."""

    implementation: ClassVar[str] = "ibml.methods.g_blending.method:GBlending"
    type: Literal["g_blending"] = "g_blending"
    """Gradient blending (Wang et al., CVPR 2020)."""
    super_epoch: Annotated[int, Field(ge=2, le=10**9)] = 10
    """Epochs for which the copies of an estimate train; it compares the first and the last. With `mode: online` also
    the number of epochs between estimates."""
    mode: Literal["online", "offline"] = "online"
    """When the weights are estimated: `online`, every `super_epoch` epochs; `offline`, once, at the first epoch."""

    def count_extra_epochs(self, trial: TrialConfig, done: int) -> int:
        first, stop = self.window.epochs(trial.trainer.epochs)
        acted = max(min(done, stop) - first, 0)
        estimates = -(-acted // self.super_epoch) if self.mode == "online" else min(acted, 1)
        return estimates * (len(trial.modalities) + 1) * self.super_epoch

    def get_epoch_inputs(self, trial: TrialConfig, epoch: int) -> dict[str, Any]:
        """The copies of an estimate see the learning rates of epochs to come."""
        form = super().get_epoch_inputs(trial, epoch)
        if form == JOINT:
            return form
        rates = trial.schedule.model_dump(mode="json") | {"lr": trial.optimizer.lr}
        return form | {"schedule": rates, "epochs": trial.trainer.epochs}
