"""Searches as parts of a run: opened in the database, their attempts as trials with keys, their records."""

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
"""MLflow's limit."""
CUT = " ... cut here; the search's report and database have all changes"


@dataclass
class OpenSearch:
    """A search that is ready to run: of an ablation, for one arm on one data set. `run` is its run in the store,
    once it has one; `tags` go on all its trials; `compared` has the names of searches beside it, by label."""

    plan: SearchPlan
    search: Search
    arm: str = ""
    dataset: str = ""
    run: OpenRun | None = None
    tags: dict[str, str] = field(default_factory=dict)
    compared: dict[str, list[str]] = field(default_factory=dict)
    population: str = ""
    """The key of the population, where the search trains one."""

    def make_task(self, trial_run: TrialRun) -> TrialTask:
        """The trial that an attempt asks for. Its run shows what the training began with; of a member of a population
        a tag says what has changed."""
        interval = trial_run.interval
        config, values = (
            (interval.initial, interval.initial_values)
            if interval
            else (trial_run.config, trial_run.values)
        )
        fingerprint = data.fingerprint(config.data)
        label = (
            f"{self.arm} · trial {trial_run.number}" if self.arm else f"trial {trial_run.number}"
        )
        cell = Cell(self.dataset, label, config, flatten(values))
        place = f"{self.dataset} · " if self.dataset else ""
        name = f"{place}{label}" + (f" · seed {config.seed}" if len(self.search.seeds) > 1 else "")
        key = (
            compute_member_key(self.population, trial_run.number)
            if interval
            else compute_trial_key(config, fingerprint)
        )
        trial = TrialSpec(cell, config, key, fingerprint, name)
        tags = {**self.tags, "ibml.search": self.search.name, "ibml.trial": str(trial_run.number)}
        if interval and interval.changes:
            tags[CHANGES] = _truncate_tag(json.dumps(interval.changes))
        return TrialTask(trial, self.run.run_id if self.run else None, tags, self, trial_run)

    def close(self, summary: RunSummary, others: Sequence[SearchRecord] = ()) -> SearchRecord:
        """Write the record and its report to the search's run.

        Args:
            summary: How the run went.
            others: Records of searches to compare with.
        """
        from ibml.report.search.page import render_search_report

        record = self.record()
        if self.run:
            self.run.files = {
                RECORDS["search"]: record.model_dump_json(indent=1),
                **render_search_report(record, others),
            }
            self.run.status = "KILLED" if summary.interrupted else "FINISHED"
        return record

    def record(self) -> SearchRecord:
        """The search as it stands."""
        plan, search = self.plan, self.search
        best = search.best
        values, config = search.get_configuration(best) if best else ({}, None)
        return SearchRecord(
            name=search.name,
            description=plan.config.description,
            arm=self.arm,
            dataset=self.dataset,
            file_hash=plan.file_hash,
            overrides=plan.overrides,
            objectives=tuple(
                (objective.metric, objective.sense) for objective in plan.config.objectives
            ),
            sampler=plan.config.sampler.model_dump(mode="json"),
            scheduler=plan.config.scheduler.model_dump(mode="json"),
            parameters={
                d.path: d.parameter.model_dump(mode="json") | {"whole": d.whole}
                for d in plan.space.searched
            },
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
    seeds = read_seed_values(trial)
    trained = int(trial.user_attrs.get(EPOCHS, sum(int(values["epochs"]) for values in seeds)))
    return ProposalRecord(
        number=trial.number,
        state=_STATES[trial.state],
        params=trial.params,
        values=tuple(trial.values) if trial.state == TrialState.COMPLETE else None,
        curve=dict(trial.intermediate_values),
        epochs=max(trained, trial.last_step or 0),
        feasible=is_feasible(trial),
        reason=trial.user_attrs.get(REASON, ""),
        changes=tuple(
            Change(epoch=c["epoch"], source=c["from"], values=c["values"])
            for c in trial.user_attrs.get(CHANGES, ())
        ),
    )


def _truncate_tag(text: str) -> str:
    """A text that fits into a tag."""
    return text if len(text) <= TAG_LENGTH else text[: TAG_LENGTH - len(CUT)] + CUT


def open_search(
    plan: SearchPlan,
    database: Database,
    populations: StoragePath,
    name: str,
    new_version: bool = False,
) -> OpenSearch:
    """The search in the database, as it stands or new; raises `SearchDatabaseError`. The states of a population are in
    a folder of its own among others."""
    spec = json.loads(
        json.dumps(plan.build_spec(data.fingerprint(plan.space.base.data), TRAINER_REVISION))
    )
    best_of = {
        s.search: _find_best_parameters(database, s.search)
        for s in plan.config.start_from
        if isinstance(s, BestOf)
    }
    start = plan.resolve_starting_values(best_of)
    directions = [objective.sense for objective in plan.config.objectives]
    sampler = RepeatableSampler(plan.config.sampler)
    study = database.open(name, spec, directions, start, sampler, new_version)
    with translate_database_errors(database.url):
        if plan.config.scheduler.type != "pbt":
            return OpenSearch(
                plan, Search(study, database.storage, plan.config, plan.space, plan.seeds)
            )
        key = compute_population_key(study.study_name, spec)
        states = PbtCheckpoints(join_escaped(populations, study.study_name), key)
        search = Population(study, database.storage, plan.config, plan.space, plan.seeds, states)
        return OpenSearch(plan, search, population=key)


def _find_best_parameters(database: Database, name: str) -> Values:
    """The best parameters of an earlier search, by label."""
    study = database.find(name)
    with translate_database_errors(database.url):
        if study is None:
            known = optuna.get_all_study_names(database.storage)
            raise SearchDatabaseError(
                f"start_from: no search is called {name!r}{format_suggestion(name, known)}"
            )
        up = study.directions[0] == optuna.study.StudyDirection.MAXIMIZE
        best = select_best_trial(study.get_trials(), "maximize" if up else "minimize")
        if best is None:
            raise SearchDatabaseError(
                f"start_from: the search {name!r} has no complete trial within its constraints"
            )
        return dict(best.params)


def count_remaining_proposals(opened: OpenSearch) -> int:
    """How many proposals a search will still have tried."""
    return max(0, opened.search.trials - opened.search.started) + len(opened.search.running)
