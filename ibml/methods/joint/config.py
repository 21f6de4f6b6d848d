"""Configuration of joint training; see `ibml.methods.joint.method` for the formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ibml.config.methods.base import JOINT, BaseMethodConfig

if TYPE_CHECKING:
    from ibml.config.trial import TrialConfig


class JointConfig(BaseMethodConfig):
    """Plain joint training of all modalities."""

    implementation: ClassVar[str] = "ibml.methods.joint.method:Joint"
    type: Literal["joint"] = "joint"
    """Plain joint training."""

    def get_epoch_inputs(self, trial: TrialConfig, epoch: int) -> dict[str, Any]:
        """Return the form of joint training."""
        return dict(JOINT)
