"""The Ray actor that trains trials."""

from __future__ import annotations

from typing import Any, Self

from ray import tune

from ibml.study.engine.worker import TrialWorker


class Parcel:
    """An assignment on its way to a worker.

    Tune copies what it is given, keeps some copies as long as it runs, and sends some back with every report. A parcel
    is one object per process, and its receiver empties it.
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
    """A `TrialWorker` as Tune's trainable, used for one trial after another."""

    def setup(self, config: dict[str, Any]) -> None:
        self.worker = TrialWorker()
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        parcel: Parcel = new_config["parcel"]
        self.worker.assign(parcel.content)
        parcel.empty()
        return True

    def step(self) -> dict[str, Any]:
        return self.worker.step()

    def checkpoint_now(self) -> None:
        """Write a checkpoint of a training that is about to be stopped."""
        self.worker.checkpoint_now()
