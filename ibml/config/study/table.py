"""What a study's table shows."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, field_validator

from ibml.config.base import Config, Items
from ibml.config.metrics.names import Metric
from ibml.config.names import Name
from ibml.config.study.designs import DisplayName, Label

Digits = Annotated[int, Field(ge=0, le=8)]


class TableConfig(Config):
    """What the table shows, under which names, and how arms are compared with the reference.

    `metrics` are its columns. `rows` are the arms in the order in which they are shown, all of them where none are
    named; `groups` puts arms under headings. `columns: datasets` makes a table per metric with a column per data set,
    `metrics` a row per data set and arm. `components` are columns that say what an arm consists of: name -> dotted
    path, with a check mark where a value is either off (0, false, none) or one other, else with the value itself.
    Designs of components and factors have such columns anyway; an empty mapping leaves them out. `names` are shown
    instead of the names of metrics, arms, data sets, factors and components. `precision` is the number of decimals,
    one for all or by metric.
    """

    metrics: Annotated[Items[str], Field(min_length=1)] | None = None
    """Metrics of the table, in order; without it, accuracy, the accuracy of each modality and their gap."""
    rows: Annotated[Items[Name], Field(min_length=1)] | None = None
    """Arms of the table, in order; without it, all."""
    columns: Literal["datasets", "metrics"] | None = None
    """`datasets`: a table per metric with a column per data set; `metrics`: a row per data set and arm. Without it,
    `datasets` if there are several."""
    groups: dict[Label, Annotated[Items[Name], Field(min_length=1)]] = {}
    """Heading -> arms below it."""
    components: dict[Label, str] | None = None
    """Column heading -> dotted path whose value says what an arm consists of; empty for no such columns."""
    names: dict[Label, DisplayName] = {}
    """Name of a metric, arm, data set, factor or component -> name to show."""
    precision: Annotated[
        Annotated[dict[str, Digits], Tag("(by metric)")] | Annotated[Digits, Tag("(all)")],
        Discriminator(lambda value: "(by metric)" if isinstance(value, dict) else "(all)"),
    ] = 2
    """Number of decimals, for all metrics or by metric."""
    arrows: bool = True
    """Show the direction of each metric as an arrow."""
    caption: str = ""
    """Caption of the table."""
    label: str = ""
    """Label of the table in LaTeX."""
    test: Literal["t", "wilcoxon"] = "t"
    """Paired test: t-test or Wilcoxon's signed-rank test."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Level of significance; intervals have the level 1 - alpha."""

    @field_validator("metrics", "rows")
    @classmethod
    def _each_once(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names and len(set(names)) < len(names):
            raise ValueError("a name is listed twice")
        return names

    @field_validator("label")
    @classmethod
    def _can_be_a_label(cls, label: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9:._-]*", label):
            raise ValueError(f"{label!r} is no label; use letters, digits, ':', '.', '_' and '-'")
        return label

    def get_display_name(self, name: str) -> str:
        """The name under which something is shown."""
        return self.names.get(name, name)

    def format_metric_name(self, metric: Metric) -> str:
        """The name under which a metric is shown, with its unit."""
        return f"{self.get_display_name(metric.name)} {metric.unit}".strip()

    def get_digits(self, metric: str) -> int:
        """The decimals of a metric's values."""
        return self.precision if isinstance(self.precision, int) else self.precision.get(metric, 2)
