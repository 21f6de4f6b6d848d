"""Ray actor that trains trials."""

from __future__ import annotations

from typing import Any, Self

from ray import tune

from ibml.study.engine.worker import TrialWorker


class Parcel:
    """Wrapper of an assignment that is sent to a worker.

    Tune copies the configuration of a trial, keeps the copies, and sends some of them back with
    every report. A parcel is never copied within a process, and its receiver drops the content.

    Args:
        content: The assignment.
    """

    def __init__(self, content: dict[str, Any]):
        self.content = content

    def empty(self) -> None:
        """Drop the content."""
        self.content = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __repr__(self) -> str:
        return "a trial"


class TrialActor(tune.Trainable):  # type: ignore[misc]
    """Tune trainable around a `TrialWorker`; one actor trains several trials in sequence."""

    def setup(self, config: dict[str, Any]) -> None:
        """Create the worker and assign its first trial.

        Args:
            config: Tune's configuration, with the key `parcel`.
        """
        self.worker = TrialWorker()
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Assign the next trial.

        Args:
            new_config: Tune's configuration, with the key `parcel`.

        Returns:
            True: Tune may reuse the actor.
        """
        parcel: Parcel = new_config["parcel"]
        self.worker.assign(parcel.content)
        parcel.empty()
        return True

    def step(self) -> dict[str, Any]:
        """Train some epochs and return the worker's report."""
        return self.worker.step()

    def checkpoint_now(self) -> None:
        """Save a checkpoint, before the training is stopped."""
        self.worker.checkpoint_now()
