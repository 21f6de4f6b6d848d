"""Runs a search, or several to compare samplers, in one run."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Literal

from rich.console import Console

from ibml.common.errors import ConfigError, Problem, SourceLocation
from ibml.common.version import get_code_revision
from ibml.config.search.samplers import RandomConfig
from ibml.config.search.schedulers import NoSchedulerConfig
from ibml.queries import open_store
from ibml.search.database import Database, choose_url
from ibml.search.plan import SearchPlan
from ibml.study.backends import choose_resources, train_tasks
from ibml.study.engine.coordinator import Coordinator
from ibml.study.engine.data_preparation import prepare_data
from ibml.study.engine.prefix_cache import open_prefix_cache
from ibml.study.engine.progress import StudyProgress
from ibml.study.engine.run_summary import RunSummary
from ibml.study.engine.searches import OpenSearch, count_remaining_proposals, open_search
from ibml.study.options import RunContext, RunOptions
from ibml.study.results import TuningResult
from ibml.study.sessions import open_session, stop_on_signals

Against = Literal["random"]


def run_search(
    plan: SearchPlan,
    options: RunOptions,
    console: Console | None = None,
    *,
    against: Against | None = None,
    repeats: int = 1,
) -> TuningResult:
    """Run a search to its total number of trials.

    Args:
        plan: The search.
        options: Options of the run.
        console: Where progress goes; None for nowhere.
        against: Kind of search to compare with, which runs at full length.
        repeats: Number of seeds of the sampler, each a search.

    Raises:
        ClusterError: If Ray is not available.
        TrackingError: If the store is not available.
        SearchDatabaseError: If Optuna's database is not available.
    """
    resources = choose_resources(plan.config.resources, options)
    database, console = Database(choose_url(options.storage)), console or Console(quiet=True)
    database.open_storage()
    with stop_on_signals(), ExitStack() as stack:
        prepare_data([plan.space.base.data], console)
        store = open_store(options.tracking_uri)
        session = stack.enter_context(open_session(store, options.checkpoints, console))
        prefixes = open_prefix_cache(session.workspace.prefix_folder, options.stage_gb)
        context = RunContext(session, database, console, prefixes, options, resources)
        return _run_groups(plan, _build_groups(plan, against, repeats), context)


def _run_groups(
    plan: SearchPlan, groups: dict[str, list[tuple[str, SearchPlan]]], context: RunContext
) -> TuningResult:
    """Run searches side by side, by label."""
    session, options = context.session, context.options
    populations = session.workspace.populations
    with ExitStack() as stack:
        for name, _ in itertools.chain(*groups.values()):
            stack.enter_context(session.heartbeat.exclusive(f"the search {name}", session.say))
        opened = [
            (label, open_search(variant, context.database, populations, name, options.new_version))
            for label, variants in groups.items()
            for name, variant in variants
        ]
        searches = [search for _, search in opened]
        compared = {
            label: [s.search.name for other, s in opened if other == label] for label in groups
        }
        for search in searches:
            search.compared = compared if len(searches) > 1 else {}
            search.run = stack.enter_context(
                session.store.open_run(
                    "search", search.record(), plan.text, driver=session.heartbeat.id
                )
            )
            search.tags = {"ibml.revision": get_code_revision()}
        summary = _train_searches(plan, searches, context)
        session.flush_or_raise()
        main, *others = searches
        records = [other.close(summary) for other in others]
        record = main.close(summary, records)
        assert main.run is not None
    return TuningResult(record, summary, main.run.run_id, main.run.files, records)


def _build_groups(
    plan: SearchPlan, against: Against | None, repeats: int
) -> dict[str, list[tuple[str, SearchPlan]]]:
    """Label -> the searches to run, by name: the one that was asked for, its repeats, and those to compare with."""
    groups = {
        _format_label(plan): [
            (_format_repeat_name(plan.name, i), _shift_sampler_seed(plan, i))
            for i in range(repeats)
        ]
    }
    if against == "random":
        if _format_label(plan) == "random":
            message = "the search is a random one at full length itself; --repeats runs it with other seeds"
            raise ConfigError([Problem(SourceLocation("--compare random"), message)])
        config = plan.config.model_copy(
            update={
                "sampler": RandomConfig(seed=plan.config.sampler.seed),
                "scheduler": NoSchedulerConfig(),
            }
        )
        other = replace(plan, config=config, warnings=())
        groups["random"] = [
            (_format_repeat_name(f"{plan.name} random", i), _shift_sampler_seed(other, i))
            for i in range(repeats)
        ]
    return groups


def _format_label(plan: SearchPlan) -> str:
    sampler, scheduler = plan.config.sampler.type, plan.config.scheduler.type
    return sampler if scheduler == "none" else f"{sampler} + {scheduler}"


def _format_repeat_name(name: str, repeat: int) -> str:
    return f"{name} repeat {repeat}" if repeat else name


def _shift_sampler_seed(plan: SearchPlan, repeat: int) -> SearchPlan:
    sampler = plan.config.sampler.model_copy(update={"seed": plan.config.sampler.seed + repeat})
    return replace(plan, config=plan.config.model_copy(update={"sampler": sampler}))


def _train_searches(
    plan: SearchPlan, searches: Sequence[OpenSearch], context: RunContext
) -> RunSummary:
    known = context.session.store.results()
    expected = sum(
        count_remaining_proposals(search) * len(search.plan.seeds) for search in searches
    )
    coordinator = Coordinator(
        context.session,
        StudyProgress(context.console, expected, expected * plan.epochs),
        sources=searches,
        known=known,
        database=context.database.url,
        prefixes=context.prefixes,
    )
    return train_tasks(coordinator, plan.name, [plan.space.base], context)
