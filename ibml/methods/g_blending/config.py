"""Configuration of gradient blending; see `ibml.methods.g_blending.method` for the formulas."""

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
    """Epochs that the copies of an estimate train; the first and the last are compared. With
    `mode: online` also the number of epochs between estimates."""
    mode: Literal["online", "offline"] = "online"
    """Time of the estimates: `online`, every `super_epoch` epochs; `offline`, once, at the first
    epoch of the window."""

    def count_extra_epochs(self, trial: TrialConfig, done: int) -> int:
        """Return the number of epochs that the copies of all estimates so far trained.

        Args:
            trial: Configuration of the trial.
            done: Number of finished epochs of the trial.

        Returns:
            The number of epochs, (M + 1) `super_epoch` per estimate.
        """
        first, stop = self.window.epochs(trial.trainer.epochs)
        active = max(min(done, stop) - first, 0)
        estimates = -(-active // self.super_epoch) if self.mode == "online" else min(active, 1)
        return estimates * (len(trial.modalities) + 1) * self.super_epoch

    def get_epoch_inputs(self, trial: TrialConfig, epoch: int) -> dict[str, Any]:
        """Return the fields that affect an epoch, with the schedule of the learning rate.

        The copies of an estimate use the learning rates of later epochs.
        """
        form = super().get_epoch_inputs(trial, epoch)
        if form == JOINT:
            return form
        rates = trial.schedule.model_dump(mode="json") | {"lr": trial.optimizer.lr}
        return form | {"schedule": rates, "epochs": trial.trainer.epochs}
