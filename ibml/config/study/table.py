"""Configuration of the table of a study."""

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
    """Content and layout of the table, and statistical test of the differences."""

    metrics: Annotated[Items[str], Field(min_length=1)] | None = None
    """Metrics of the table, in order; null: accuracy, accuracy of each modality, and gap."""
    rows: Annotated[Items[Name], Field(min_length=1)] | None = None
    """Arms of the table, in order; null: all."""
    columns: Literal["datasets", "metrics"] | None = None
    """`datasets`: a table per metric with a column per data set; `metrics`: a row per data set and
    arm. null: `datasets` if there are several."""
    groups: dict[Label, Annotated[Items[Name], Field(min_length=1)]] = {}
    """Heading -> arms below it."""
    components: dict[Label, str] | None = None
    """Heading of a column that describes the arms -> dotted path. The column has check marks if the
    value is either off (0, false, none) or one other value, else the values. null: the components
    or factors of the design; an empty mapping: no such columns."""
    names: dict[Label, DisplayName] = {}
    """Name of a metric, arm, data set, factor or component -> displayed name."""
    precision: Annotated[
        Annotated[dict[str, Digits], Tag("(by metric)")] | Annotated[Digits, Tag("(all)")],
        Discriminator(lambda value: "(by metric)" if isinstance(value, dict) else "(all)"),
    ] = 2
    """Number of decimals, for all metrics or by metric."""
    arrows: bool = True
    """Show the direction of improvement of each metric as an arrow."""
    caption: str = ""
    """Caption of the table."""
    label: str = ""
    """Label of the table in LaTeX."""
    test: Literal["t", "wilcoxon"] = "t"
    """Paired test: t-test or Wilcoxon's signed-rank test."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Level of significance; confidence intervals have the level 1 - alpha."""

    @field_validator("metrics", "rows")
    @classmethod
    def _check_unique(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names and len(set(names)) < len(names):
            raise ValueError("a name is listed twice")
        return names

    @field_validator("label")
    @classmethod
    def _check_label(cls, label: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9:._-]*", label):
            raise ValueError(
                f"{label!r} is not a valid label; use letters, digits, ':', '.', '_' and '-'"
            )
        return label

    def get_display_name(self, name: str) -> str:
        """Return the displayed name of a metric, arm, data set, factor or component."""
        return self.names.get(name, name)

    def format_metric_name(self, metric: Metric) -> str:
        """Return the displayed name of a metric, with its unit."""
        return f"{self.get_display_name(metric.name)} {metric.unit}".strip()

    def get_digits(self, metric: str) -> int:
        """Return the number of decimals for the values of a metric."""
        return self.precision if isinstance(self.precision, int) else self.precision.get(metric, 2)
