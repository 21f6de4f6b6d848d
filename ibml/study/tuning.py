"""`ibml tune`: a search, or several to compare samplers, in one Ray run; its record and what it found in the store."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Literal

from rich.console import Console

from ibml.common.errors import ConfigError, Problem, Source
from ibml.common.version import code_revision
from ibml.config.search.samplers import RandomConfig
from ibml.config.search.schedulers import NoSchedulerConfig
from ibml.records import SearchRecord
from ibml.search.database import Database
from ibml.search.plan import SearchPlan
from ibml.study.backends import run_driver
from ibml.study.engine.coordinator import Driver
from ibml.study.engine.prefix_cache import Stages
from ibml.study.engine.progress import StudyProgress
from ibml.study.engine.run_summary import Outcome
from ibml.study.engine.scheduler import SearchSource
from ibml.study.engine.searches import OpenSearch, SearchReport, open_search, proposals_left
from ibml.tracking.session import Session

Against = Literal["random"]


@dataclass
class Tuned:
    """A search that was run, with those that it is compared with: its record, its run, and how it went."""

    record: SearchRecord
    outcome: Outcome
    run_id: str
    files: dict[str, str | bytes]
    """Its report, by file name."""
    others: list[SearchRecord] = field(default_factory=list)


def run_search(
    plan: SearchPlan,
    session: Session,
    database: Database,
    address: str | None,
    console: Console,
    report: SearchReport,
    stages: Stages,
    *,
    new_version: bool = False,
    against: Against | None = None,
    repeats: int = 1,
) -> Tuned:
    """Run a search to its total number of trials, with `repeats` seeds of its sampler, and as many random searches
    at full length where it is compared `against` random. `report` makes the files that go into the store.

    Raises `ClusterError`, `TrackingError` and `SearchDatabaseError`.
    """
    groups = _groups(plan, against, repeats)
    with ExitStack() as stack:
        for name, _ in itertools.chain(*groups.values()):
            stack.enter_context(session.presence.alone(f"the search {name}", session.say))
        opened = [
            (label, open_search(variant, database, session.workspace.populations, name, new_version))
            for label, variants in groups.items()
            for name, variant in variants
        ]
        searches = [search for _, search in opened]
        compared = {label: [s.search.name for other, s in opened if other == label] for label in groups}
        for search in searches:
            search.compared = compared if len(searches) > 1 else {}
            search.run = stack.enter_context(
                session.store.open_run("search", search.record(), plan.text, driver=session.presence.id)
            )
            search.tags = {"ibml.revision": code_revision()}
        outcome = _run(plan, searches, session, database, address, console, stages)
        session.require_all()
        main, *others = searches
        records = [other.close(outcome, report) for other in others]
        record = main.close(outcome, report, records)
        assert main.run is not None
    return Tuned(record, outcome, main.run.run_id, main.run.files, records)


def _groups(plan: SearchPlan, against: Against | None, repeats: int) -> dict[str, list[tuple[str, SearchPlan]]]:
    """Label -> the searches to run, by name: the one that was asked for, its repeats, and those to compare with."""
    groups = {_label(plan): [(_numbered(plan.name, i), _with_seed(plan, i)) for i in range(repeats)]}
    if against == "random":
        if _label(plan) == "random":
            message = "the search is a random one at full length itself; --repeats runs it with other seeds"
            raise ConfigError([Problem(Source("--compare random"), message)])
        config = plan.config.model_copy(
            update={"sampler": RandomConfig(seed=plan.config.sampler.seed), "scheduler": NoSchedulerConfig()}
        )
        other = replace(plan, config=config, warnings=())
        groups["random"] = [(_numbered(f"{plan.name} random", i), _with_seed(other, i)) for i in range(repeats)]
    return groups


def _label(plan: SearchPlan) -> str:
    sampler, scheduler = plan.config.sampler.type, plan.config.scheduler.type
    return sampler if scheduler == "none" else f"{sampler} + {scheduler}"


def _numbered(name: str, repeat: int) -> str:
    return f"{name} repeat {repeat}" if repeat else name


def _with_seed(plan: SearchPlan, repeat: int) -> SearchPlan:
    sampler = plan.config.sampler.model_copy(update={"seed": plan.config.sampler.seed + repeat})
    return replace(plan, config=plan.config.model_copy(update={"sampler": sampler}))


def _run(
    plan: SearchPlan,
    searches: Sequence[OpenSearch],
    session: Session,
    database: Database,
    address: str | None,
    console: Console,
    stages: Stages,
) -> Outcome:
    known = session.store.results()
    expected = sum(proposals_left(search) * len(search.plan.seeds) for search in searches)
    progress = StudyProgress(console, expected, expected * plan.epochs)
    sources = [SearchSource(search.search, search.task) for search in searches]
    driver = Driver([], sources, known, session, progress, database.url, stages=stages)
    return run_driver(driver, plan.name, plan.config.resources, address, [plan.space.base])
