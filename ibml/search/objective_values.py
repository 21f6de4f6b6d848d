"""Values of objectives: tracked over the epochs of a run, and the worst possible ones."""

from __future__ import annotations

from ibml.config.metrics.names import Selection, describe_metric, rank
from ibml.config.metrics.specs import Direction
from ibml.config.search.space import SearchSpaceConfig
from ibml.records import MetricRow


class MetricTracker:
    """Tracks the epoch that would be selected if the run ended now, and the training time.

    Args:
        selection: Metric that selects the best epoch, or `last`.
    """

    def __init__(self, selection: Selection):
        self.selection = selection
        self.selected: MetricRow | None = None
        self.epochs = 0
        self.seconds = 0.0

    def add(self, row: MetricRow) -> None:
        """Add the metrics of the next epoch."""
        self.epochs += 1
        self.seconds += row["time.epoch"]
        if self.selected is None or rank(row, self.selection) > rank(self.selected, self.selection):
            self.selected = row

    def value(self, metric: str) -> float:
        """Return the current value of a metric.

        Args:
            metric: A metric of the selected epoch, or `time.epoch` or `time.total` in seconds.

        Returns:
            The metric of the selected epoch; for times, the mean or the sum over all epochs.
        """
        if metric == "time.epoch":
            return self.seconds / self.epochs
        if metric == "time.total":
            return self.seconds
        assert self.selected is not None, "a trial without an epoch has no value"
        return self.selected[metric]


def list_needed_metrics(config: SearchSpaceConfig, selection: Selection) -> set[str]:
    """Return the per-epoch metrics that a search needs.

    Args:
        config: Search space with objectives and constraints.
        selection: Metric that selects the best epoch, or `last`.

    Returns:
        Names of metrics. `time.total` is left out, since it is the sum of `time.epoch`.
    """
    needed = {"val.loss", "time.epoch"}
    needed.update(objective.metric for objective in config.objectives)
    needed.update(constraint.metric for constraint in config.constraints)
    if selection != "last":
        needed.add(selection)
    return needed - {"time.total"}


def get_sign(sense: Direction) -> float:
    """Return the factor that makes higher values of an objective better: 1 or -1."""
    return 1.0 if sense == "maximize" else -1.0


def get_worst_value(metric: str, sense: Direction, seen: list[float]) -> float | None:
    """Return the worst value of a metric.

    Args:
        metric: Name of the metric.
        sense: Direction of the objective.
        seen: Values of other trials, for metrics without bounds.

    Returns:
        The bound of the metric, else the worst of `seen`; None if `seen` is empty too.
    """
    maximize = sense == "maximize"
    bounds = describe_metric(metric).bounds
    if bounds is not None:
        return bounds[0] if maximize else bounds[1]
    if maximize:
        return min(seen, default=None)
    return max(seen, default=None)
