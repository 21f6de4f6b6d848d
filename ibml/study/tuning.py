"""Search runs: one search, or several in one run to compare samplers."""

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
"""Sampler of a search to compare with."""
Groups = dict[str, list[tuple[str, SearchPlan]]]
"""Label of the sampler -> name and plan of each of its searches."""


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
        console: Console for progress and messages; None prints nothing.
        against: Sampler of a second search to compare with, which runs without pruning.
        repeats: Number of sampler seeds; each seed is a search.

    Returns:
        The record and report of the search, and the records of the searches to compare with.

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


def _run_groups(plan: SearchPlan, groups: Groups, context: RunContext) -> TuningResult:
    """Run all searches of the groups concurrently."""
    session, options = context.session, context.options
    populations = session.workspace.populations
    with ExitStack() as stack:
        for name, _ in itertools.chain(*groups.values()):
            stack.enter_context(session.heartbeat.exclusive(f"the search {name}", session.say))
        searches: list[OpenSearch] = []
        compared: dict[str, list[str]] = {}
        for label, variants in groups.items():
            compared[label] = []
            for name, variant in variants:
                opened = open_search(
                    variant, context.database, populations, name, options.new_version
                )
                searches.append(opened)
                compared[label].append(opened.search.name)
        for search in searches:
            search.compared = compared if len(searches) > 1 else {}
            search.run = stack.enter_context(
                session.store.open_run(
                    "search", search.build_record(), plan.text, driver=session.heartbeat.id
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


def _build_groups(plan: SearchPlan, against: Against | None, repeats: int) -> Groups:
    """Return the searches to run: the requested one, its repeats, and those to compare with."""
    groups = {_format_label(plan): _repeat_search(plan, plan.name, repeats)}
    if against == "random":
        if _format_label(plan) == "random":
            message = (
                "the search is already a random search without a scheduler;"
                " use --repeats to run it with other seeds"
            )
            raise ConfigError([Problem(SourceLocation("--compare random"), message)])
        sampler = RandomConfig(seed=plan.config.sampler.seed)
        update = {"sampler": sampler, "scheduler": NoSchedulerConfig()}
        other = replace(plan, config=plan.config.model_copy(update=update), warnings=())
        groups["random"] = _repeat_search(other, f"{plan.name} random", repeats)
    return groups


def _repeat_search(plan: SearchPlan, name: str, repeats: int) -> list[tuple[str, SearchPlan]]:
    """Return the name and plan of each repeat of a search, with consecutive sampler seeds."""
    variants = []
    for repeat in range(repeats):
        repeat_name = f"{name} repeat {repeat}" if repeat else name
        variants.append((repeat_name, _shift_sampler_seed(plan, repeat)))
    return variants


def _format_label(plan: SearchPlan) -> str:
    sampler, scheduler = plan.config.sampler.type, plan.config.scheduler.type
    return sampler if scheduler == "none" else f"{sampler} + {scheduler}"


def _shift_sampler_seed(plan: SearchPlan, repeat: int) -> SearchPlan:
    sampler = plan.config.sampler.model_copy(update={"seed": plan.config.sampler.seed + repeat})
    return replace(plan, config=plan.config.model_copy(update={"sampler": sampler}))


def _train_searches(
    plan: SearchPlan, searches: Sequence[OpenSearch], context: RunContext
) -> RunSummary:
    """Train the trials of all searches, and return the counters of the run."""
    known = context.session.store.results()
    expected = 0
    for search in searches:
        expected += count_remaining_proposals(search) * len(search.plan.seeds)
    coordinator = Coordinator(
        context.session,
        StudyProgress(context.console, expected, expected * plan.epochs),
        sources=searches,
        known=known,
        database=context.database.url,
        prefixes=context.prefixes,
    )
    return train_tasks(coordinator, plan.name, [plan.space.base], context)
