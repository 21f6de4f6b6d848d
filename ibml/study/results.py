"""Return values of studies and searches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ibml.records import SearchRecord
    from ibml.report.tables.table import Table
    from ibml.study.engine.run_summary import RunSummary


@dataclass(frozen=True)
class Ablation:
    """Result of running a study.

    Attributes:
        table: The study's table.
        outcome: Counters of the run.
        run_id: Id of the study's MLflow run.

    Example:
        >>> import ibml
        >>> ablation = ibml.ablate("ablations/smoke.yaml", backend="local", workers=1)
        >>> ablation.table.build_frame().columns[:3].tolist()
        ['dataset', 'arm', 'metric']
    """

    table: Table
    outcome: RunSummary
    run_id: str


@dataclass
class TuningResult:
    """Result of running a search, and the searches that it is compared with.

    Attributes:
        record: Record of the search.
        outcome: Counters of the run.
        run_id: Id of the search's MLflow run.
        files: Report of the search, by file name.
        others: Records of the searches to compare with.
    """

    record: SearchRecord
    outcome: RunSummary
    run_id: str
    files: dict[str, str | bytes]
    others: list[SearchRecord] = field(default_factory=list)
