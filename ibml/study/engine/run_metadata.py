"""Parameters and tags of a trial's MLflow run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ibml import data
from ibml.config.trial import TrialConfig, build_canonical_form, flatten
from ibml.study.planning.cells import Cell
from ibml.study.planning.keys import compute_trial_shape
from ibml.study.planning.trials import TrialSpec
from ibml.tracking.journal.events import TrialDescription
from ibml.tracking.study_tags import format_study_tag


def build_trial_description(
    trial: TrialSpec, parent: str | None, tags: Mapping[str, str]
) -> TrialDescription:
    """Describe the MLflow run of a trial before it has results.

    Args:
        trial: The trial.
        parent: Id of the run of its study or search, if any.
        tags: Tags of the study or search.

    Returns:
        The description: name, parameters, tags and configuration.
    """
    study = {format_study_tag(tags["ibml.study"]): trial.cell.arm} if "ibml.study" in tags else {}
    all_tags = {
        **tags,
        **study,
        "ibml.key": trial.key,
        "ibml.arm": trial.cell.arm,
        "ibml.dataset": trial.cell.dataset,
        "ibml.seed": str(trial.config.seed),
        "ibml.data": trial.fingerprint,
        "ibml.shape": compute_trial_shape(trial.config),
        **{f"ibml.data.{name}": note for name, note in data.describe(trial.config.data).items()},
    }
    config = trial.config.model_dump(mode="json")
    return TrialDescription(
        trial.key,
        trial.name,
        build_run_parameters(trial.cell, trial.config),
        all_tags,
        config,
        parent,
    )


def build_run_parameters(cell: Cell, config: TrialConfig) -> dict[str, Any]:
    """Return the MLflow parameters of a trial.

    The order is: arm, seed and data set; parameters that distinguish the arm; all others.

    Args:
        cell: Arm and data set of the trial.
        config: Configuration of the trial.

    Returns:
        Parameters by name.
    """
    flat = flatten(build_canonical_form(config))
    first = {"arm": cell.arm, "seed": config.seed, "dataset": cell.dataset}
    changed = {path: flat[path] for path in cell.changes if path in flat}
    return first | changed | flat
