"""Configuration of LFM. `ibml.methods.lfm.method` has the formulas."""

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
    """How the classification's share of the loss grows over the epochs, within 0.05 and 0.95: `fitted`, the authors'
    polynomial; `linear`. The alignment has the rest."""
    alignment: Literal["js", "infonce"] = "js"
    """The alignment loss: `js`, Jensen-Shannon divergence of the predictions; `infonce`, InfoNCE of the features, which
    must be equally wide."""

    @property
    def head(self) -> BaseFusionConfig:
        return MeanHeadConfig()

    def find_field_errors(self, trial: TrialConfig) -> FieldErrors:
        found = super().find_field_errors(trial)
        if self.alignment == "infonce" and len(set(get_feature_widths(trial).values())) > 1:
            found.append(
                (("method", "alignment"), "infonce compares features, which must be equally many")
            )
        return found

    def get_epoch_inputs(self, trial: TrialConfig, epoch: int) -> dict[str, Any]:
        """The classification's share depends on the number of epochs."""
        form = super().get_epoch_inputs(trial, epoch)
        return form if form == JOINT else form | {"epochs": trial.trainer.epochs}
