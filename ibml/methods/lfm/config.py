"""Configuration of LFM; see `ibml.methods.lfm.method` for the formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ibml.config.base import FieldErrors
from ibml.config.fusion import BaseFusionConfig
from ibml.config.methods.base import JOINT, LATE_FUSIONS, ComparingMethodConfig, get_feature_widths

if TYPE_CHECKING:
    from ibml.config.trial import TrialConfig


class MeanHeadConfig(BaseFusionConfig):
    """One linear head per modality; the logits are averaged."""

    implementation: ClassVar[str] = "ibml.methods.lfm.head:MeanHead"
    type: Literal["mean"] = "mean"
    """The head of LFM."""


class LFMConfig(ComparingMethodConfig):
    """Learning to fuse by aligning the modalities first (Yang et al., NeurIPS 2024)."""

    implementation: ClassVar[str] = "ibml.methods.lfm.method:LFM"
    fusions: ClassVar[tuple[str, ...] | None] = LATE_FUSIONS
    refusal: ClassVar[str] = "averages the logits of one head per modality, in place of a fusion"
    type: Literal["lfm"] = "lfm"
    """LFM (Yang et al., NeurIPS 2024)."""
    weight: Literal["fitted", "linear"] = "fitted"
    """Growth of the classification's share of the loss over the epochs, between 0.05 and 0.95:
    `fitted`, the authors' polynomial; `linear`. The alignment has the remaining share."""
    alignment: Literal["js", "infonce"] = "js"
    """Alignment loss: `js`, Jensen-Shannon divergence of the predictions; `infonce`, InfoNCE of the
    features, which must have the same width."""

    @property
    def head(self) -> BaseFusionConfig:
        """Linear head per modality, whose logits are averaged."""
        return MeanHeadConfig()

    def find_field_errors(self, trial: TrialConfig) -> FieldErrors:
        """Return the errors of the base class, and unequal widths of features for `infonce`."""
        errors = super().find_field_errors(trial)
        if self.alignment == "infonce" and len(set(get_feature_widths(trial).values())) > 1:
            errors.append(
                (("method", "alignment"), "infonce compares features, which must be equally many")
            )
        return errors

    def get_epoch_inputs(self, trial: TrialConfig, epoch: int) -> dict[str, Any]:
        """Return the fields that affect an epoch, with the number of epochs, on which w depends."""
        form = super().get_epoch_inputs(trial, epoch)
        return form if form == JOINT else form | {"epochs": trial.trainer.epochs}
