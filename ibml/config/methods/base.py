"""Base classes of the configurations of balancing methods, and the window of epochs in which a method acts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ibml.config.base import Config, Findings
from ibml.config.component import Component

if TYPE_CHECKING:
    from ibml.config.fusion import FusionPart
    from ibml.config.trial import TrialConfig

Heads = Literal["shared", "separate"]
"""Where a modality's own logits come from: the fused head's unimodal logits, or a linear head of their own."""

LATE_FUSIONS = ("concat", "late")
"""The fusions that methods with a head of their own accept: the default, and the kind of fusion that the head is."""

MOST_MODALITIES = 8
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

    def inconsistencies(self, of_training: int) -> Findings:
        """Why it does not fit a training of so many epochs."""
        first, stop = self.first_epoch, self.stop_epoch
        place = ("method", "window", "stop_epoch")
        if stop is not None and stop > of_training and self.opens(of_training):
            return [(place, f"epoch {stop} is outside the {of_training} epochs of training")]
        if stop is not None and stop <= first:
            return [(place, f"the window [{first}, {stop}) is empty")]
        return []


class MethodPart(Component):
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
    def head(self) -> FusionPart | None:
        """The head that replaces the fusion; None: the method uses the trial's fusion."""
        return None

    @property
    def only_modality(self) -> str | None:
        """The one modality that the model sees; None: all modalities of the data."""
        return None

    def acts_in(self, epochs: int) -> bool:
        """Return whether it acts in any epoch of a training of so many."""
        return True

    def extra_epochs(self, trial: TrialConfig, done: int) -> int:
        """How many epochs it has trained beside the trial's own when so many of these are done."""
        return 0

    def inconsistencies(self, trial: TrialConfig) -> Findings:
        """What of the trial the method cannot be used with."""
        findings: Findings = []
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
        widths = feature_widths(trial)
        if self.same_widths and len(set(widths.values())) > 1:
            given = ", ".join(f"{width} for {modality}" for modality, width in widths.items())
            findings.append(
                (
                    ("encoders",),
                    f"{name} {self.same_widths}: features must be equally many, not {given}",
                )
            )
        if self.every_subset and len(modalities) > MOST_MODALITIES:
            message = f"{name} asks for every subset of the modalities, of which there may be {MOST_MODALITIES}"
            findings.append((("method", "type"), message))
        return findings

    def canonical(self, trial: TrialConfig) -> dict[str, Any]:
        """What of it determines the result, as plain data; `{"type": "joint"}` where it does nothing."""
        plain: dict[str, Any] = self.model_dump(mode="json")
        return plain

    def acting(self, trial: TrialConfig, epoch: int) -> dict[str, Any]:
        """What of it determines an epoch, as plain data, once the epochs before are given. Trainings with the same of
        the first t epochs, and alike otherwise, are in the same state after these; so what is said must hold all that
        counts, here the whole method and the number of epochs."""
        return self.canonical(trial) | {"epochs": trial.trainer.epochs}


def feature_widths(trial: TrialConfig) -> dict[str, int]:
    """How many features each modality has, where its encoder is known."""
    encoders = {
        name: trial.encoders.get(name) or trial.encoders.get("default")
        for name in trial.data.modalities
    }
    return {name: encoder.features for name, encoder in encoders.items() if encoder}


class WindowedPart(MethodPart):
    """A method that acts in a window of epochs."""

    window: Window = Window()
    """The epochs in which the method acts; outside the window, training is joint."""

    def acts_in(self, epochs: int) -> bool:
        return self.window.opens(epochs)

    def inconsistencies(self, trial: TrialConfig) -> Findings:
        return super().inconsistencies(trial) + self.window.inconsistencies(trial.trainer.epochs)

    def canonical(self, trial: TrialConfig) -> dict[str, Any]:
        first, stop = self.window.epochs(trial.trainer.epochs)
        return super().canonical(trial) | {"window": {"first_epoch": first, "stop_epoch": stop}}

    def acting(self, trial: TrialConfig, epoch: int) -> dict[str, Any]:
        """Outside the window nothing. Inside everything but where the window ends; where it began is known from the
        epochs before."""
        form, (first, stop) = self.canonical(trial), self.window.epochs(trial.trainer.epochs)
        if form == JOINT or not first <= epoch < stop:
            return dict(JOINT)
        return {name: value for name, value in form.items() if name != "window"}


JOINT: dict[str, Any] = {"type": "joint"}
"""The canonical form of a method that does nothing."""


class ComparingPart(WindowedPart):
    """A windowed method that compares modalities, and therefore needs two of them."""

    compares: ClassVar[bool] = True
