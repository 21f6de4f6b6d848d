"""Trials that a run adds after results."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from ibml.records import MetricRow
from ibml.search.search import Ending, Search
from ibml.study.engine.tasks import TrialTask


class FollowUps(Protocol):
    """Rules of a study for the trials that it adds after results."""

    def after_trial(self, task: TrialTask, ending: Ending, final: MetricRow) -> Iterable[TrialTask]:
        """Return the trials to add after a planned trial.

        Args:
            task: The planned trial.
            ending: How it ended.
            final: Its final metrics.

        Returns:
            Tasks to add, in order.
        """

    def after_search(self, search: Search) -> Iterable[TrialTask]:
        """Return the trials to add after a search has finished."""


class NoFollowUps:
    """Follow-ups of a run whose trials are all known at its start."""

    def after_trial(self, task: TrialTask, ending: Ending, final: MetricRow) -> Iterable[TrialTask]:
        """Return no trials."""
        return ()

    def after_search(self, search: Search) -> Iterable[TrialTask]:
        """Return no trials."""
        return ()
