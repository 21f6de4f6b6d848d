"""The difference between a recorded study and a plan.

They are the same study if one contains the other: the same arms with the same configurations,
possibly renamed, and more or fewer arms or seeds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from ibml.common.errors import IbmlError
from ibml.common.version_names import find_changed_paths, format_change
from ibml.config.trial import TrialConfig, build_canonical_form, flatten
from ibml.records import UNTUNED, StudyRecord
from ibml.study.planning.cells import Cell
from ibml.study.planning.plan import Plan
from ibml.study.planning.record import build_tuning_spec

_MAX_SEEDS = 8
"""Maximum number of seeds that are listed."""

Label = tuple[str, str]
"""A data set and an arm."""


@dataclass(frozen=True)
class DesignChange:
    """The difference between a recorded study and a plan.

    Attributes:
        changes: Differences that make the plan another study; empty if it is the same study.
        notices: Parts of the record that the plan lacks or names differently.
        identical: True if the arms, data sets and seeds are those of the record.
    """

    changes: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    identical: bool = False


def compare_design(record: StudyRecord | None, plan: Plan) -> DesignChange:
    """Compare a record with a plan.

    Args:
        record: Record of a study; None if there is none or it cannot be read.
        plan: Plan of a study.

    Returns:
        The difference. It is empty without a record, or if the record lacks configurations.
    """
    if record is None or not set(record.datasets) <= set(record.configs):
        return DesignChange()
    cells = _CellComparison(record, plan)
    seeds = _compare_seeds(record, plan)
    changes = [*cells.list_changes(), *seeds.changes, *_compare_tuning(record, plan)]
    if changes and record.overrides and not record.base_name:
        overrides = " ".join(record.overrides)
        notice = f"its record is of a run with {overrides}, which now has a separate name"
        return DesignChange(notices=[notice])
    notices = [*cells.list_notices(), *seeds.notices]
    renamed_reference = cells.renamed_arms.get(record.reference)
    if plan.reference not in (record.reference, renamed_reference):
        notices.append(f"the reference is now {plan.reference!r}; it was {record.reference!r}")
    same_seeds = set(record.seeds) == set(plan.study.all_seeds)
    identical = not cells.added and not cells.removed and same_seeds
    return DesignChange(changes, notices, identical)


class _CellComparison:
    """Comparison of the arms on their data sets: same, changed, renamed, added or removed."""

    def __init__(self, record: StudyRecord, plan: Plan):
        self.several = len({*plan.datasets, *record.datasets}) > 1
        before: dict[Label, dict[str, Any]] = {}
        for trial in record.trials:
            label = (trial.dataset, trial.arm)
            if label not in before:
                before[label] = _flatten_recorded(record, label)
        now = {(cell.dataset, cell.arm): cell for cell in plan.cells}
        self.changed: dict[Label, tuple[dict[str, Any], Cell]] = {}
        for label, cell in now.items():
            if label in before and not _is_same(before[label], cell):
                self.changed[label] = (before[label], cell)
        same = before.keys() & now.keys() - self.changed.keys()
        gone = {label: flat for label, flat in before.items() if label not in same}
        new = {label: cell for label, cell in now.items() if label not in same}
        self.renamed = _match_renamed(gone, new)
        self.removed = [label for label in gone if label not in self.renamed]
        self.added = [label for label in new if label not in self.renamed.values()]
        self.renamed_arms = {before[1]: now[1] for before, now in self.renamed.items()}

    def list_changes(self) -> list[str]:
        """Return what both lack of each other; empty if one contains the other."""
        if not self.removed or not self.added:
            return []
        lines = list(self._describe_value_changes())
        removed = [label for label in self.removed if label not in self.changed]
        added = [label for label in self.added if label not in self.changed]
        if removed or added:
            lines.append(f"arms: {self._join(removed)} -> {self._join(added)}")
        return lines

    def _describe_value_changes(self) -> Iterator[str]:
        """Yield a line per changed value, with the arms unless all arms are changed."""
        labels_by_line: dict[str, list[Label]] = {}
        changed = {label: pair for label, pair in self.changed.items() if label in self.added}
        for label, (flat, cell) in changed.items():
            before, now = _select_comparable(flat, cell)
            for path in find_changed_paths(before, now):
                labels_by_line.setdefault(format_change(path, before, now), []).append(label)
        for line, labels in labels_by_line.items():
            everywhere = len(labels) == len(changed) and len(labels) > 1
            yield line if everywhere else f"{self._join(labels)}: {line}"

    def list_notices(self) -> Iterator[str]:
        """Yield the renamed and removed arms."""
        for before, now in self.renamed.items():
            if before[1] != now[1]:
                yield f"the arm {self._join([before])} is now called {now[1]!r}"
        if self.removed:
            yield f"{self._join(self.removed)} is no longer part of it; its results stay in MLflow"

    def _join(self, labels: list[Label]) -> str:
        shown = []
        for dataset, arm in labels:
            shown.append(repr(f"{dataset} · {arm}" if self.several else arm))
        return ", ".join(shown) or "nothing"


def _flatten_recorded(record: StudyRecord, label: Label) -> dict[str, Any]:
    """Return the configuration of a recorded arm by path, without a seed.

    A value is None if the arm has no such field.
    """
    dataset, arm = label
    return {**record.configs[dataset], **record.changes.get(dataset, {}).get(arm, {})}


def _flatten_planned(cell: Cell) -> dict[str, Any]:
    return flatten(cell.config.model_dump(mode="json", exclude={"seed"}))


def _is_same(flat: Mapping[str, Any], cell: Cell) -> bool:
    """Return True if a recorded configuration trains the same model as a cell.

    The record may have another form, or be older than some of the fields.
    """
    if _drop_none(flat) == _drop_none(_flatten_planned(cell)):
        return True
    form = read_canonical(flat)
    return form is not None and form == _serialize_cell(cell)


def _match_renamed(
    gone: Mapping[Label, dict[str, Any]], new: Mapping[Label, Cell]
) -> dict[Label, Label]:
    """Return the new label of each arm whose configuration has another name now."""
    if not gone or not new:
        return {}
    by_form = {_serialize_cell(cell): label for label, cell in new.items()}
    renamed: dict[Label, Label] = {}
    for before, flat in gone.items():
        now = by_form.get(read_canonical(flat) or "")
        if now is not None:
            renamed[before] = now
    return renamed


def _select_comparable(
    flat: Mapping[str, Any], cell: Cell
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values of both configurations that influence results.

    All values are returned if the recorded configuration cannot be read.
    """
    form = read_canonical(flat)
    if form is None:
        return _drop_none(flat), _drop_none(_flatten_planned(cell))
    return flatten(json.loads(form)), flatten(json.loads(_serialize_cell(cell)))


def read_canonical(flat: Mapping[str, Any]) -> str | None:
    """Return the canonical form of a recorded configuration.

    Args:
        flat: Values by dotted path.

    Returns:
        JSON text, or None if this version of ibml cannot read the configuration.
    """
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        if value is not None:
            *parents, last = path.split(".")
            node = tree
            for step in parents:
                node = node.setdefault(step, {})
                if not isinstance(node, dict):
                    return None
            node[last] = value
    try:
        return _serialize_form(build_canonical_form(TrialConfig.model_validate(tree)))
    except (ValidationError, IbmlError):
        return None


def _serialize_cell(cell: Cell) -> str:
    return _serialize_form(build_canonical_form(cell.config))


def _serialize_form(form: Mapping[str, Any]) -> str:
    return json.dumps({**form, "seed": 0}, sort_keys=True)


def _drop_none(flat: Mapping[str, Any]) -> dict[str, Any]:
    return {path: value for path, value in flat.items() if value is not None}


def _compare_seeds(record: StudyRecord, plan: Plan) -> DesignChange:
    before, now = set(record.seeds), set(plan.study.all_seeds)
    if before <= now:
        return DesignChange()
    line = f"seeds: {_format_seeds(before)} -> {_format_seeds(now)}"
    if now < before:
        return DesignChange(notices=[f"{line}; the other results stay in MLflow"])
    return DesignChange([line])


def _format_seeds(seeds: set[int]) -> str:
    numbers = sorted(seeds)
    if len(numbers) <= _MAX_SEEDS:
        return str(numbers)
    return f"[{numbers[0]}, {numbers[1]}, ..., {numbers[-1]}]"


def _compare_tuning(record: StudyRecord, plan: Plan) -> list[str]:
    now = build_tuning_spec(plan)
    if not record.tune:  # its arms are not tuned, or an old version did not record the search
        was_tuned = bool(record.tuning) or any(trial.key == UNTUNED for trial in record.trials)
        if was_tuned == bool(now):
            return []
        return [f"tune: {_format_flag(was_tuned)} -> {_format_flag(bool(now))}"]
    before, after = flatten({"tune": record.tune}), flatten({"tune": now})
    return [format_change(path, before, after) for path in find_changed_paths(before, after)]


def _format_flag(flag: bool) -> str:
    return "yes" if flag else "no"
