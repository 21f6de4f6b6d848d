"""Studies and results made by hand, for tests of what is made from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ibml.config.study.table import TableConfig
from ibml.records import DesignRecord, StudyRecord, TrialEntry, TrialRecord

Values = Mapping[str, Sequence[float | None]]
"""Arm -> value by seed; None is a trial without a result."""


def study(
    arms: Values,
    datasets: Sequence[str] = ("d",),
    table: Mapping[str, Any] | None = None,
    **more: Any,
) -> StudyRecord:
    """A study whose first arm is the reference."""
    trials = [
        TrialEntry(arm=arm, dataset=dataset, seed=seed, key=f"{dataset}/{arm}/{seed}")
        for dataset in datasets
        for arm, values in arms.items()
        for seed in range(len(values))
    ]
    given: dict[str, Any] = {
        "name": "demo",
        "description": "Which is better?",
        "file_hash": "0123456789abcdef",
        "overrides": (),
        "reference": next(iter(arms)),
        "arms": tuple(arms),
        "datasets": tuple(datasets),
        "seeds": tuple(range(max(map(len, arms.values())))),
        "epochs": dict.fromkeys(datasets, (40,)),
        "notes": (),
        "metrics": ("test.accuracy", "test.gap"),
        "table": TableConfig.model_validate(table or {}),
        "trials": tuple(trials),
    }
    return StudyRecord(**{**given, **more})


def results(
    record: StudyRecord, arms: Values, shift: Mapping[str, float] | None = None, gain: float = 0.0
) -> dict[str, TrialRecord]:
    """Finished trials with accuracy as given (plus the data set's shift) and gap 1 - accuracy. Each further
    data set gives each further arm `gain` more."""
    found = {}
    for trial in record.trials:
        value = arms[trial.arm][trial.seed]
        if value is not None:
            more = gain * record.datasets.index(trial.dataset) * record.arms.index(trial.arm)
            accuracy = value + (shift or {}).get(trial.dataset, 0.0) + more
            metrics = {"test.accuracy": accuracy, "test.gap": 1 - accuracy}
            found[trial.key] = TrialRecord(
                trial.key,
                f"run-{trial.key}",
                "finished",
                metrics,
                "",
                "data",
                "rev",
                "cpu",
                ended_at=10,
            )
    return found


def crossed(
    levels: Mapping[str, Mapping[str, str]], factors: Mapping[str, tuple[str, ...]], kind: str
) -> dict[str, Any]:
    """The design of a study of crossed factors, for `study(..., **crossed(...))`."""
    components = tuple(name for name, of in factors.items() if of == ("off", "on"))
    design = DesignRecord(
        type=kind,
        factors=dict(factors),
        components=components,
        levels={a: dict(of) for a, of in levels.items()},
    )
    columns = {
        name: {
            arm: of[name] == "on" if name in components else of[name] for arm, of in levels.items()
        }
        for name in factors
    }
    return {"design": design, "columns": columns}
