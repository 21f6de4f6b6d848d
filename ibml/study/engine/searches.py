"""Searches in a run: opening them in the database, tasks for their trials, and their records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import optuna
from optuna.trial import FrozenTrial, TrialState

from ibml import data
from ibml.common.errors import format_suggestion
from ibml.common.paths import join_escaped
from ibml.common.storage import StoragePath
from ibml.config.search.space import BestOf
from ibml.config.trial import flatten
from ibml.records import Change, ProposalRecord, ProposalState, SearchRecord
from ibml.search.database import Database, SearchDatabaseError, translate_database_errors
from ibml.search.pbt_checkpoints import PbtCheckpoints
from ibml.search.plan import SearchPlan
from ibml.search.population import CHANGES, Population
from ibml.search.samplers import RepeatableSampler
from ibml.search.search import Search
from ibml.search.space import Values
from ibml.search.trial_attributes import (
    EPOCHS,
    REASON,
    is_feasible,
    read_seed_values,
    select_best_trial,
)
from ibml.search.trial_runs import TrialRun
from ibml.study.engine.run_summary import RunSummary
from ibml.study.engine.tasks import TrialTask
from ibml.study.planning.cells import Cell
from ibml.study.planning.keys import compute_member_key, compute_population_key, compute_trial_key
from ibml.study.planning.trials import TrialSpec
from ibml.tracking.store.mlflow_store import RECORDS, OpenRun
from ibml.training.revision import TRAINER_REVISION

_STATES: dict[TrialState, ProposalState] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}

TAG_LENGTH = 5000
"""Maximum length of an MLflow tag."""
CUT = " ... cut here; the search's report and database have all changes"


@dataclass
class OpenSearch:
    """A search that is ready to run.

    Attributes:
        plan: Plan of the search.
        search: The search.
        arm: Arm that it tunes, if it belongs to an ablation.
        dataset: Data set of the arm.
        run: Its MLflow run, once that is open.
        tags: Tags for the runs of all its trials.
        compared: Names of the searches in the same run, by label.
        population: Key of the population, if the search trains one.
    """

    plan: SearchPlan
    search: Search
    arm: str = ""
    dataset: str = ""
    run: OpenRun | None = None
    tags: dict[str, str] = field(default_factory=dict)
    compared: dict[str, list[str]] = field(default_factory=dict)
    population: str = ""

    def make_task(self, trial_run: TrialRun) -> TrialTask:
        """Return the task for a run of the search.

        The MLflow run of a population's member shows the initial configuration; a tag lists the
        later changes.

        Args:
            trial_run: The run of a proposal with one seed.

        Returns:
            The task.
        """
        interval = trial_run.interval
        config, values = trial_run.config, trial_run.values
        if interval:
            config, values = interval.initial, interval.initial_values
        fingerprint = data.fingerprint(config.data)
        if interval:
            key = compute_member_key(self.population, trial_run.number)
        else:
            key = compute_trial_key(config, fingerprint)
        label = " · ".join(filter(None, [self.arm, f"trial {trial_run.number}"]))
        cell = Cell(self.dataset, label, config, flatten(values))
        seed = f"seed {config.seed}" if len(self.search.seeds) > 1 else ""
        name = " · ".join(filter(None, [self.dataset, label, seed]))
        trial = TrialSpec(cell, config, key, fingerprint, name)
        tags = {**self.tags, "ibml.search": self.search.name, "ibml.trial": str(trial_run.number)}
        if interval and interval.changes:
            tags[CHANGES] = _truncate_tag(json.dumps(interval.changes))
        return TrialTask(trial, self.run.run_id if self.run else None, tags, self, trial_run)

    def close(self, summary: RunSummary, others: Sequence[SearchRecord] = ()) -> SearchRecord:
        """Write the record and the report to the search's MLflow run.

        Args:
            summary: Counters of the run.
            others: Records of searches to compare with.

        Returns:
            The record.
        """
        from ibml.report.search.page import render_search_report

        record = self.build_record()
        if self.run:
            self.run.files = {
                RECORDS["search"]: record.model_dump_json(indent=1),
                **render_search_report(record, others),
            }
            self.run.status = "KILLED" if summary.interrupted else "FINISHED"
        return record

    def build_record(self) -> SearchRecord:
        """Return the record of the search in its current state."""
        plan, search = self.plan, self.search
        best = search.best
        values, config = search.get_configuration(best) if best else ({}, None)
        parameters = {}
        for dimension in plan.space.searched:
            fields = dimension.parameter.model_dump(mode="json")
            parameters[dimension.path] = fields | {"whole": dimension.whole}
        objectives = plan.config.objectives
        return SearchRecord(
            name=search.name,
            description=plan.config.description,
            arm=self.arm,
            dataset=self.dataset,
            file_hash=plan.file_hash,
            overrides=plan.overrides,
            objectives=tuple((objective.metric, objective.sense) for objective in objectives),
            sampler=plan.config.sampler.model_dump(mode="json"),
            scheduler=plan.config.scheduler.model_dump(mode="json"),
            parameters=parameters,
            trials=search.trials,
            epochs=plan.epochs,
            seeds=plan.seeds,
            proposals=tuple(map(_build_proposal_record, search.list_trials())),
            best=best.number if best else None,
            best_params=values,
            best_config=config.model_dump(mode="json", exclude={"seed"}) if config else {},
            compared={label: tuple(names) for label, names in self.compared.items()},
            notes=plan.warnings,
        )


def _build_proposal_record(trial: FrozenTrial) -> ProposalRecord:
    """Return the record of an Optuna trial."""
    seed_epochs = sum(int(values["epochs"]) for values in read_seed_values(trial))
    trained = int(trial.user_attrs.get(EPOCHS, seed_epochs))
    changes = []
    for change in trial.user_attrs.get(CHANGES, ()):
        changes.append(
            Change(epoch=change["epoch"], source=change["from"], values=change["values"])
        )
    return ProposalRecord(
        number=trial.number,
        state=_STATES[trial.state],
        params=trial.params,
        values=tuple(trial.values) if trial.state == TrialState.COMPLETE else None,
        curve=dict(trial.intermediate_values),
        epochs=max(trained, trial.last_step or 0),
        feasible=is_feasible(trial),
        reason=trial.user_attrs.get(REASON, ""),
        changes=tuple(changes),
    )


def _truncate_tag(text: str) -> str:
    """Return a text, shortened to the maximum length of a tag."""
    if len(text) <= TAG_LENGTH:
        return text
    return text[: TAG_LENGTH - len(CUT)] + CUT


def open_search(
    plan: SearchPlan,
    database: Database,
    populations: StoragePath,
    name: str,
    new_version: bool = False,
) -> OpenSearch:
    """Open a search in the database, or create it.

    Args:
        plan: Plan of the search.
        database: Optuna's database.
        populations: Parent folder of the checkpoints of all populations.
        name: Name of the search.
        new_version: True to start a new version if the name exists with other settings.

    Returns:
        The search.

    Raises:
        SearchDatabaseError: If the database is not available, if the name exists with other
            settings, or if a search in `start_from` has no usable trial.
    """
    spec = plan.build_spec(data.fingerprint(plan.space.base.data), TRAINER_REVISION)
    spec = json.loads(json.dumps(spec))  # plain JSON types, as the database returns them
    best_of = {}
    for source in plan.config.start_from:
        if isinstance(source, BestOf):
            best_of[source.search] = _find_best_parameters(database, source.search)
    start = plan.resolve_starting_values(best_of)
    directions = [objective.sense for objective in plan.config.objectives]
    sampler = RepeatableSampler(plan.config.sampler)
    study = database.open(name, spec, directions, start, sampler, new_version)
    with translate_database_errors(database.url):
        if plan.config.scheduler.type != "pbt":
            search = Search(study, database.storage, plan.config, plan.space, plan.seeds)
            return OpenSearch(plan, search)
        key = compute_population_key(study.study_name, spec)
        checkpoints = PbtCheckpoints(join_escaped(populations, study.study_name), key)
        population = Population(
            study, database.storage, plan.config, plan.space, plan.seeds, checkpoints
        )
        return OpenSearch(plan, population, population=key)


def _find_best_parameters(database: Database, name: str) -> Values:
    """Return the best parameters of an earlier search, by label."""
    study = database.find(name)
    with translate_database_errors(database.url):
        if study is None:
            known = optuna.get_all_study_names(database.storage)
            raise SearchDatabaseError(
                f"start_from: no search is called {name!r}{format_suggestion(name, known)}"
            )
        is_maximized = study.directions[0] == optuna.study.StudyDirection.MAXIMIZE
        best = select_best_trial(study.get_trials(), "maximize" if is_maximized else "minimize")
        if best is None:
            raise SearchDatabaseError(
                f"start_from: the search {name!r} has no complete trial within its constraints"
            )
        return dict(best.params)


def count_remaining_proposals(opened: OpenSearch) -> int:
    """Return the number of proposals that a search still has to train."""
    return max(0, opened.search.trials - opened.search.started) + len(opened.search.running)
