"""What a trial is worth to a search, epoch by epoch."""

from __future__ import annotations

from ibml.config.metrics.names import Selection, describe_metric, rank
from ibml.config.metrics.specs import Direction
from ibml.config.search.space import SearchSpaceConfig
from ibml.records import MetricRow


class MetricTracker:
    """Follows one trial: the epoch that would be selected if it ended now, and the time it took."""

    def __init__(self, selection: Selection):
        self.selection = selection
        self.selected: MetricRow | None = None
        self.epochs = 0
        self.seconds = 0.0

    def add(self, row: MetricRow) -> None:
        self.epochs += 1
        self.seconds += row["time.epoch"]
        if self.selected is None or rank(row, self.selection) > rank(self.selected, self.selection):
            self.selected = row

    def value(self, metric: str) -> float:
        """The metric as it stands: `val.*` of the selected epoch, the mean or the sum of the epochs' times."""
        if metric == "time.epoch":
            return self.seconds / self.epochs
        if metric == "time.total":
            return self.seconds
        assert self.selected is not None, "a trial without an epoch has no value"
        return self.selected[metric]


def list_needed_metrics(config: SearchSpaceConfig, selection: Selection) -> set[str]:
    """The metrics of an epoch that a search looks at."""
    asked = {objective.metric for objective in config.objectives} | {
        c.metric for c in config.constraints
    }
    ranked = {"val.loss"} if selection == "last" else {"val.loss", selection}
    return {*asked, *ranked, "time.epoch"} - {"time.total"}


def get_worst_value(metric: str, sense: Direction, seen: list[float]) -> float | None:
    """The worst that a metric can be, or the worst seen where it has no bound; none where nothing was seen."""
    bounds = describe_metric(metric).bounds
    if bounds is not None:
        return bounds[0] if sense == "maximize" else bounds[1]
    return (min if sense == "maximize" else max)(seen, default=None)
