"""Base classes of the configurations of balancing methods, and the window of epochs in which a method acts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ibml.config.base import Config, FieldErrors
from ibml.config.components.component import ComponentConfig

if TYPE_CHECKING:
    from ibml.config.fusion import BaseFusionConfig
    from ibml.config.trial import TrialConfig

Heads = Literal["shared", "separate"]
"""Where a modality's own logits come from: the fused head's unimodal logits, or a linear head of their own."""

LATE_FUSIONS = ("concat", "late")
"""The fusions that methods with a head of their own accept: the default, and the kind of fusion that the head is."""

MAX_SUBSET_MODALITIES = 8
"""Of a method or measure that asks for every subset of the modalities."""


class Window(Config):
    """The epochs [first_epoch, stop_epoch) in which a method acts; outside, training is plain joint.

    No `stop_epoch` means: to the end.
    """

    first_epoch: Annotated[int, Field(ge=0)] = 0
    """The first epoch in which the method acts; epochs count from 0."""
    stop_epoch: Annotated[int, Field(ge=1)] | None = None
    """The first epoch after the window; null: the method acts until the end of training."""

    def epochs(self, of_training: int) -> tuple[int, int]:
        """[first, stop) with its end."""
        return self.first_epoch, self.stop_epoch or of_training

    def opens(self, of_training: int) -> bool:
        """Return whether any of so many epochs can be in the window."""
        return self.first_epoch < of_training

    def find_field_errors(self, of_training: int) -> FieldErrors:
        """Why it does not fit a training of so many epochs."""
        first, stop = self.first_epoch, self.stop_epoch
        place = ("method", "window", "stop_epoch")
        if stop is not None and stop > of_training and self.opens(of_training):
            return [(place, f"epoch {stop} is outside the {of_training} epochs of training")]
        if stop is not None and stop <= first:
            return [(place, f"the window [{first}, {stop}) is empty")]
        return []


class BaseMethodConfig(ComponentConfig):
    """Base class of the configurations of methods: what a trial, its key and its checks ask of the method."""

    compares: ClassVar[bool] = False
    """Whether it needs two modalities."""
    same_widths: ClassVar[str] = ""
    """Why all encoders must have features of one width, where they must."""
    every_subset: ClassVar[bool] = False
    """Whether it may ask for every subset of the modalities, of which there are 2^M."""
    fusions: ClassVar[tuple[str, ...] | None] = None
    """The fusions that it works with; None: every one."""
    refusal: ClassVar[str] = ""
    """Why it works with no other."""

    @property
    def head(self) -> BaseFusionConfig | None:
        """The head that replaces the fusion; None: the method uses the trial's fusion."""
        return None

    @property
    def only_modality(self) -> str | None:
        """The one modality that the model sees; None: all modalities of the data."""
        return None

    def is_active_in(self, epochs: int) -> bool:
        """Return whether it acts in any epoch of a training of so many."""
        return True

    def count_extra_epochs(self, trial: TrialConfig, done: int) -> int:
        """How many epochs it has trained beside the trial's own when so many of these are done."""
        return 0

    def find_field_errors(self, trial: TrialConfig) -> FieldErrors:
        """What of the trial the method cannot be used with."""
        findings: FieldErrors = []
        name, modalities = self.type, trial.data.modalities
        if self.compares and len(modalities) < 2:
            findings.append(
                (
                    ("method", "type"),
                    f"{name} compares modalities, and the data has {modalities[0]} alone",
                )
            )
        if self.fusions is not None and trial.fusion.type not in self.fusions:
            known = " or ".join(self.fusions)
            findings.append(
                (("fusion", "type"), f"{name} {self.refusal}: fusion.type must be {known}")
            )
        widths = get_feature_widths(trial)
        if self.same_widths and len(set(widths.values())) > 1:
            given = ", ".join(f"{width} for {modality}" for modality, width in widths.items())
            findings.append(
                (
                    ("encoders",),
                    f"{name} {self.same_widths}: features must be equally many, not {given}",
                )
            )
        if self.every_subset and len(modalities) > MAX_SUBSET_MODALITIES:
            message = f"{name} asks for every subset of the modalities, of which there may be {MAX_SUBSET_MODALITIES}"
            findings.append((("method", "type"), message))
        return findings

    def build_canonical_form(self, trial: TrialConfig) -> dict[str, Any]:
        """What of it determines the result, as plain data; `{"type": "joint"}` where it does nothing."""
        plain: dict[str, Any] = self.model_dump(mode="json")
        return plain

    def get_epoch_inputs(self, trial: TrialConfig, epoch: int) -> dict[str, Any]:
        """What of it determines an epoch, as plain data, once the epochs before are given. Trainings with the same of
        the first t epochs, and alike otherwise, are in the same state after these; so what is said must hold all that
        counts, here the whole method and the number of epochs."""
        return self.build_canonical_form(trial) | {"epochs": trial.trainer.epochs}


def get_feature_widths(trial: TrialConfig) -> dict[str, int]:
    """How many features each modality has, where its encoder is known."""
    encoders = {
        name: trial.encoders.get(name) or trial.encoders.get("default")
        for name in trial.data.modalities
    }
    return {name: encoder.features for name, encoder in encoders.items() if encoder}


class WindowedMethodConfig(BaseMethodConfig):
    """A method that acts in a window of epochs."""

    window: Window = Window()
    """The epochs in which the method acts; outside the window, training is joint."""

    def is_active_in(self, epochs: int) -> bool:
        return self.window.opens(epochs)

    def find_field_errors(self, trial: TrialConfig) -> FieldErrors:
        return super().find_field_errors(trial) + self.window.find_field_errors(
            trial.trainer.epochs
        )

    def build_canonical_form(self, trial: TrialConfig) -> dict[str, Any]:
        first, stop = self.window.epochs(trial.trainer.epochs)
        return super().build_canonical_form(trial) | {
            "window": {"first_epoch": first, "stop_epoch": stop}
        }

    def get_epoch_inputs(self, trial: TrialConfig, epoch: int) -> dict[str, Any]:
        """Outside the window nothing. Inside everything but where the window ends; where it began is known from the
        epochs before."""
        form, (first, stop) = (
            self.build_canonical_form(trial),
            self.window.epochs(trial.trainer.epochs),
        )
        if form == JOINT or not first <= epoch < stop:
            return dict(JOINT)
        return {name: value for name, value in form.items() if name != "window"}


JOINT: dict[str, Any] = {"type": "joint"}
"""The canonical form of a method that does nothing."""


class ComparingMethodConfig(WindowedMethodConfig):
    """A windowed method that compares modalities, and therefore needs two of them."""

    compares: ClassVar[bool] = True
