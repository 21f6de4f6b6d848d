"""Hand-written records of studies and results, for tests of tables and reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ibml.config.study.table import TableConfig
from ibml.records import DesignRecord, StudyRecord, TrialEntry, TrialRecord

Values = Mapping[str, Sequence[float | None]]
"""Arm -> accuracy per seed; None for a trial without a result."""


def study(
    arms: Values,
    datasets: Sequence[str] = ("d",),
    table: Mapping[str, Any] | None = None,
    **more: Any,
) -> StudyRecord:
    """Return the record of a study whose first arm is the reference.

    Args:
        arms: Values per arm; they determine the number of seeds.
        datasets: Names of the data sets.
        table: Fields of the table configuration.
        **more: Further fields of the record.
    """
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
    """Return finished trials with the given accuracies and gap 1 - accuracy, by key.

    Args:
        record: The study.
        arms: Accuracies per arm.
        shift: Data set -> amount to add to its accuracies.
        gain: Amount to add per index of the data set and per index of the arm.
    """
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
    """Return the design of a study with crossed factors, for `study(..., **crossed(...))`.

    Args:
        levels: Arm -> factor -> level.
        factors: Factor -> its levels; a component has the levels off and on.
        kind: Type of the design.
    """
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
