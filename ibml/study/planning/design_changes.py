"""The difference between a recorded study and a plan.

They are the same study if one contains the other: the same arms with the same configurations, whatever their names are,
and more or fewer of them, or of seeds.
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
"""Seeds that are written out."""

Label = tuple[str, str]
"""A data set and an arm."""


@dataclass(frozen=True)
class DesignChange:
    """The difference between a recorded study and a plan."""

    changes: list[str] = field(default_factory=list)
    """In words, what makes the plan another study; empty if it is the same study."""
    notices: list[str] = field(default_factory=list)
    """In words, what of the record the plan leaves out or names differently."""
    identical: bool = False
    """Whether the arms, data sets and seeds are those of the record."""


def compare_design(record: StudyRecord | None, plan: Plan) -> DesignChange:
    """Compare a record with a plan. A record that cannot be read, or that lacks configurations, is no other study."""
    if record is None or not set(record.datasets) <= set(record.configs):
        return DesignChange()
    cells = _CellComparison(record, plan)
    seeds = _compare_seeds(record, plan)
    changes = [*cells.changes(), *seeds.changes, *_compare_tuning(record, plan)]
    if changes and record.overrides and not record.base_name:
        overrides = " ".join(record.overrides)
        return DesignChange(
            notices=[
                f"its record was that of a run with {overrides}, which now has a name of its own"
            ]
        )
    notices = [*cells.notices(), *seeds.notices]
    if (
        record.reference != plan.reference
        and cells.renamed_arms.get(record.reference) != plan.reference
    ):
        notices.append(f"the reference is now {plan.reference!r}; it was {record.reference!r}")
    identical = (
        not cells.added and not cells.removed and set(record.seeds) == set(plan.study.all_seeds)
    )
    return DesignChange(changes, notices, identical)


class _CellComparison:
    """The arms on their data sets: which are the same, changed, renamed, added, or removed."""

    def __init__(self, record: StudyRecord, plan: Plan):
        self.several = len({*plan.datasets, *record.datasets}) > 1
        before = {
            label: _flatten_recorded(record, label)
            for label in dict.fromkeys((t.dataset, t.arm) for t in record.trials)
        }
        now = {(cell.dataset, cell.arm): cell for cell in plan.cells}
        self.changed = {
            label: (before[label], cell)
            for label, cell in now.items()
            if label in before and not _is_same(before[label], cell)
        }
        same = before.keys() & now.keys() - self.changed.keys()
        gone = {label: flat for label, flat in before.items() if label not in same}
        new = {label: cell for label, cell in now.items() if label not in same}
        self.renamed = _match_renamed(gone, new)
        self.removed = [label for label in gone if label not in self.renamed]
        self.added = [label for label in new if label not in self.renamed.values()]
        self.renamed_arms = {before[1]: now[1] for before, now in self.renamed.items()}

    def changes(self) -> list[str]:
        """What both lack of each other; nothing if one contains the other."""
        if not self.removed or not self.added:
            return []
        lines = list(self._describe_value_changes())
        removed = [label for label in self.removed if label not in self.changed]
        added = [label for label in self.added if label not in self.changed]
        return lines + (
            [f"arms: {self._join(removed)} -> {self._join(added)}"] if removed or added else []
        )

    def _describe_value_changes(self) -> Iterator[str]:
        places: dict[str, list[Label]] = {}
        changed = {label: pair for label, pair in self.changed.items() if label in self.added}
        for label, (flat, cell) in changed.items():
            before, now = _select_comparable(flat, cell)
            for path in find_changed_paths(before, now):
                places.setdefault(format_change(path, before, now), []).append(label)
        for line, labels in places.items():
            everywhere = len(labels) == len(changed) and len(labels) > 1
            yield line if everywhere else f"{self._join(labels)}: {line}"

    def notices(self) -> Iterator[str]:
        for before, now in self.renamed.items():
            if before[1] != now[1]:
                yield f"the arm {self._join([before])} is now called {now[1]!r}"
        if self.removed:
            yield f"{self._join(self.removed)} is no longer part of it; its results stay in MLflow"

    def _join(self, labels: list[Label]) -> str:
        shown = [f"{dataset} · {arm}" if self.several else arm for dataset, arm in labels]
        return ", ".join(map(repr, shown)) or "nothing"


def _flatten_recorded(record: StudyRecord, label: Label) -> dict[str, Any]:
    """Return the configuration of a recorded arm without a seed: dotted path -> value, None where there is none."""
    dataset, arm = label
    return {**record.configs[dataset], **record.changes.get(dataset, {}).get(arm, {})}


def _flatten_planned(cell: Cell) -> dict[str, Any]:
    return flatten(cell.config.model_dump(mode="json", exclude={"seed"}))


def _is_same(flat: Mapping[str, Any], cell: Cell) -> bool:
    """Whether a recorded configuration trains what a cell does. It may have been written in another way, or before
    ibml had some of the fields."""
    if _drop_none(flat) == _drop_none(_flatten_planned(cell)):
        return True
    form = read_canonical(flat)
    return form is not None and form == _serialize_form(build_canonical_form(cell.config))


def _match_renamed(
    gone: Mapping[Label, dict[str, Any]], new: Mapping[Label, Cell]
) -> dict[Label, Label]:
    """Return the arms that have the same configuration under another name: old label -> new label."""
    if not gone or not new:
        return {}
    by_form = {
        _serialize_form(build_canonical_form(cell.config)): label for label, cell in new.items()
    }
    found = {label: by_form.get(read_canonical(flat) or "") for label, flat in gone.items()}
    return {before: now for before, now in found.items() if now is not None}


def _select_comparable(
    flat: Mapping[str, Any], cell: Cell
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return both configurations as far as results depend on them, if the recorded one can be read, else whole."""
    form = read_canonical(flat)
    if form is None:
        return _drop_none(flat), _drop_none(_flatten_planned(cell))
    return flatten(json.loads(form)), flatten(
        json.loads(_serialize_form(build_canonical_form(cell.config)))
    )


def read_canonical(flat: Mapping[str, Any]) -> str | None:
    """Return the canonical form of a recorded configuration as text, if this version of ibml can read it."""
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


def _serialize_form(form: Mapping[str, Any]) -> str:
    return json.dumps({**form, "seed": 0}, sort_keys=True)


def _drop_none(flat: Mapping[str, Any]) -> dict[str, Any]:
    return {path: value for path, value in flat.items() if value is not None}


def _compare_seeds(record: StudyRecord, plan: Plan) -> DesignChange:
    before, now = set(record.seeds), set(plan.study.all_seeds)
    line = f"seeds: {_format_seeds(before)} -> {_format_seeds(now)}"
    if before <= now:
        return DesignChange()
    return (
        DesignChange(notices=[f"{line}; the other results stay in MLflow"])
        if now < before
        else DesignChange([line])
    )


def _format_seeds(seeds: set[int]) -> str:
    numbers = sorted(seeds)
    return (
        str(numbers)
        if len(numbers) <= _MAX_SEEDS
        else f"[{numbers[0]}, {numbers[1]}, ..., {numbers[-1]}]"
    )


def _compare_tuning(record: StudyRecord, plan: Plan) -> list[str]:
    tuned = bool(record.tuning) or any(trial.key == UNTUNED for trial in record.trials)
    now = build_tuning_spec(plan)
    if not record.tune:  # its arms are not tuned, or a version of ibml did not record how
        return (
            []
            if tuned == bool(now)
            else [f"tune: {'yes' if tuned else 'no'} -> {'yes' if now else 'no'}"]
        )
    before, after = (flatten({"tune": spec}) for spec in (record.tune, now))
    return [format_change(path, before, after) for path in find_changed_paths(before, after)]
