"""Base classes of method configurations, and the window of epochs in which a method acts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ibml.config.base import Config, FieldErrors
from ibml.config.components.component import ComponentConfig

if TYPE_CHECKING:
    from ibml.config.fusion import BaseFusionConfig
    from ibml.config.trial import TrialConfig

Heads = Literal["shared", "separate"]
"""Source of a modality's logits: `shared`, the unimodal logits of the fused head, or `separate`, a
linear head per modality."""

LATE_FUSIONS = ("concat", "late")
"""Values of `fusion.type` accepted by methods that bring their own head: the default, and the type
that matches the head."""

MAX_SUBSET_MODALITIES = 8
"""Largest number of modalities for methods and measures that evaluate every subset of them."""


class Window(Config):
    """Epochs [first_epoch, stop_epoch) in which a method acts; outside, training is plain joint.

    Without `stop_epoch`, the window lasts until the end of training.

    Example:
        >>> window = Window(first_epoch=5)
        >>> window.epochs(40)
        (5, 40)
    """

    first_epoch: Annotated[int, Field(ge=0)] = 0
    """First epoch in which the method acts; epochs count from 0."""
    stop_epoch: Annotated[int, Field(ge=1)] | None = None
    """First epoch after the window; null: the method acts until the end of training."""

    def epochs(self, of_training: int) -> tuple[int, int]:
        """Return the window as (first, stop).

        Args:
            of_training: Number of training epochs.

        Returns:
            First epoch, and the first epoch after the window.
        """
        return self.first_epoch, self.stop_epoch or of_training

    def opens(self, of_training: int) -> bool:
        """Return True if the window begins within `of_training` epochs of training."""
        return self.first_epoch < of_training

    def find_field_errors(self, of_training: int) -> FieldErrors:
        """Return an error if the window is empty or ends after `of_training` epochs."""
        first = self.first_epoch
        stop = self.stop_epoch
        place = ("method", "window", "stop_epoch")
        if stop is not None and stop > of_training and self.opens(of_training):
            return [(place, f"epoch {stop} is outside the {of_training} epochs of training")]
        if stop is not None and stop <= first:
            return [(place, f"the window [{first}, {stop}) is empty")]
        return []


class BaseMethodConfig(ComponentConfig):
    """Base class of method configurations.

    The class variables state the requirements of a method, which `find_field_errors` checks. The
    methods provide the parts of the trial key that depend on the method.
    """

    compares: ClassVar[bool] = False
    """True if the method needs two or more modalities."""
    same_widths: ClassVar[str] = ""
    """Reason why all encoders must have the same number of features; empty: no such requirement."""
    every_subset: ClassVar[bool] = False
    """True if the method may evaluate every subset of the M modalities, which are 2^M."""
    fusions: ClassVar[tuple[str, ...] | None] = None
    """Supported values of `fusion.type`; None: all."""
    refusal: ClassVar[str] = ""
    """Reason why the method supports no other fusion."""

    @property
    def head(self) -> BaseFusionConfig | None:
        """Head that replaces the fusion; None: the method uses the trial's fusion."""
        return None

    @property
    def only_modality(self) -> str | None:
        """Name of the single modality that the model sees; None: all modalities of the data."""
        return None

    def is_active_in(self, epochs: int) -> bool:
        """Return True if the method acts in at least one of `epochs` training epochs."""
        return True

    def count_extra_epochs(self, trial: TrialConfig, done: int) -> int:
        """Return the number of additional epochs that the method has trained.

        Args:
            trial: The trial.
            done: Number of completed epochs of the trial.

        Returns:
            Number of epochs in addition to `done`, for example of auxiliary models.
        """
        return 0

    def find_field_errors(self, trial: TrialConfig) -> FieldErrors:
        """Return the fields of the trial that the method cannot be combined with."""
        findings: FieldErrors = []
        name = self.type
        modalities = trial.data.modalities
        if self.compares and len(modalities) < 2:
            message = f"{name} compares modalities, and the data has {modalities[0]} alone"
            findings.append((("method", "type"), message))
        if self.fusions is not None and trial.fusion.type not in self.fusions:
            known = " or ".join(self.fusions)
            message = f"{name} {self.refusal}: fusion.type must be {known}"
            findings.append((("fusion", "type"), message))
        widths = get_feature_widths(trial)
        if self.same_widths and len(set(widths.values())) > 1:
            given = ", ".join(f"{width} for {modality}" for modality, width in widths.items())
            message = f"{name} {self.same_widths}: features must be equally many, not {given}"
            findings.append((("encoders",), message))
        if self.every_subset and len(modalities) > MAX_SUBSET_MODALITIES:
            message = (
                f"{name} asks for every subset of the modalities,"
                f" of which there may be {MAX_SUBSET_MODALITIES}"
            )
            findings.append((("method", "type"), message))
        return findings

    def build_canonical_form(self, trial: TrialConfig) -> dict[str, Any]:
        """Return everything in this configuration that determines the result, as plain data.

        Args:
            trial: The trial.

        Returns:
            The canonical form; `{"type": "joint"}` for a method without effect.
        """
        plain: dict[str, Any] = self.model_dump(mode="json")
        return plain

    def get_epoch_inputs(self, trial: TrialConfig, epoch: int) -> dict[str, Any]:
        """Return everything in this configuration that influences one epoch, for the prefix hash.

        Two trials share their first t epochs if their inputs of these epochs, and everything else
        that influences training, are equal. A method must therefore leave out nothing that has an
        effect. The default is the whole method and the number of training epochs.

        Args:
            trial: The trial.
            epoch: Epoch, counted from 0; the state after the previous epochs is given.

        Returns:
            Plain data.
        """
        return self.build_canonical_form(trial) | {"epochs": trial.trainer.epochs}


def get_feature_widths(trial: TrialConfig) -> dict[str, int]:
    """Return the number of features of each modality that has an encoder."""
    default = trial.encoders.get("default")
    widths = {}
    for name in trial.data.modalities:
        encoder = trial.encoders.get(name) or default
        if encoder:
            widths[name] = encoder.features
    return widths


class WindowedMethodConfig(BaseMethodConfig):
    """Base class of methods that act in a window of epochs."""

    window: Window = Window()
    """Epochs in which the method acts; outside the window, training is joint."""

    def is_active_in(self, epochs: int) -> bool:
        """Return True if the window begins within `epochs` training epochs."""
        return self.window.opens(epochs)

    def find_field_errors(self, trial: TrialConfig) -> FieldErrors:
        """Return the errors of the method and of its window."""
        own = super().find_field_errors(trial)
        return own + self.window.find_field_errors(trial.trainer.epochs)

    def build_canonical_form(self, trial: TrialConfig) -> dict[str, Any]:
        """Return the canonical form with the end of the window filled in."""
        first, stop = self.window.epochs(trial.trainer.epochs)
        window = {"first_epoch": first, "stop_epoch": stop}
        return super().build_canonical_form(trial) | {"window": window}

    def get_epoch_inputs(self, trial: TrialConfig, epoch: int) -> dict[str, Any]:
        """Return the canonical form without the window inside it, and joint training outside.

        The end of the window does not influence an epoch inside. Its beginning is known from the
        inputs of the previous epochs.

        Args:
            trial: The trial.
            epoch: Epoch, counted from 0.

        Returns:
            Plain data.
        """
        form = self.build_canonical_form(trial)
        first, stop = self.window.epochs(trial.trainer.epochs)
        if form == JOINT or not first <= epoch < stop:
            return dict(JOINT)
        return {name: value for name, value in form.items() if name != "window"}


JOINT: dict[str, Any] = {"type": "joint"}
"""Canonical form of a method without effect."""


class ComparingMethodConfig(WindowedMethodConfig):
    """Base class of windowed methods that need two or more modalities."""

    compares: ClassVar[bool] = True
