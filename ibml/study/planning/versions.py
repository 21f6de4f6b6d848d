"""Versions of a study: a study with a changed design does not replace the record of another one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ibml.common.errors import IbmlError
from ibml.common.redaction import redact_url
from ibml.common.version_names import format_refusal, get_next_version, select_versions
from ibml.records import UNTUNED
from ibml.study.planning.design_changes import DesignChange, compare_design
from ibml.study.planning.plan import Plan
from ibml.tracking.store.reader import StoreReader

_REPLACED = "its record has another design and no results, and is replaced"


class DesignChangedError(IbmlError):
    """A study of this name was run with another design."""


def choose_version(
    plan: Plan, store: StoreReader, new_version: bool, say: Callable[[str], None]
) -> Plan:
    """Return the plan with the name of the version that has its design, or of a new version.

    Args:
        plan: The plan, with its name without a version.
        store: Store with the versions that were run.
        new_version: True to start a new version if no version has the design.
        say: Receives notices for the user, a line at a time.

    Returns:
        The plan with the name of its record.

    Raises:
        DesignChangedError: The name is taken by another design, and `new_version` is false.
        TrackingError: The store cannot be used.
    """
    names = store.names("study")
    alike = [n for n in names if n != plan.name and n.casefold() == plan.name.casefold()]
    if alike:
        say(
            f"Note: {plan.name} and the study {alike[0]} differ only in case; their reports may"
            " share a directory."
        )
    versions = select_versions(plan.name, names)
    found = _compare_versions(plan, store, versions)
    chosen = _select_same(found) or _select_empty(store, versions)
    if chosen:
        change = found[chosen]
        for notice in [_REPLACED] if change.changes else change.notices:
            say(f"{chosen}: {notice}")
        return replace(plan, name=chosen)
    if plan.name not in versions:
        return plan
    if not new_version:
        latest = versions[-1]
        head = (
            f"the study {latest!r} in {redact_url(store.uri)} was run with another design, whose"
            " record would be replaced:"
        )
        following = get_next_version(plan.name, versions)
        advice = f"Use --new-version to run this as {following!r}, or change `name` in the file."
        raise DesignChangedError(format_refusal(head, found[latest].changes, advice))
    return replace(plan, name=get_next_version(plan.name, versions))


def find_version(plan: Plan, store: StoreReader) -> str | None:
    """Return the name of the version that has the plan's design, if it was run."""
    versions = select_versions(plan.name, store.names("study"))
    return _select_same(_compare_versions(plan, store, versions))


def _select_empty(store: StoreReader, versions: Sequence[str]) -> str | None:
    """Return the latest version if it has no results, so that its record can be replaced.

    A version that may be running is not returned.
    """
    record = store.read_study_if_any(versions[-1]) if versions else None
    if record is None or any(trial.key == UNTUNED for trial in record.trials):
        return None
    for run in store.overview():
        if (run.kind, run.name, run.status) == ("study", record.name, "RUNNING"):
            return None
    results = store.results({trial.key for trial in record.trials})
    return None if any(result.ended for result in results.values()) else record.name


def _compare_versions(
    plan: Plan, store: StoreReader, versions: list[str]
) -> dict[str, DesignChange]:
    return {version: compare_design(store.read_study_if_any(version), plan) for version in versions}


def _select_same(found: Mapping[str, DesignChange]) -> str | None:
    """Return the latest version with an identical design, else the latest compatible version."""
    same = [version for version, change in found.items() if not change.changes]
    identical = [version for version in same if found[version].identical]
    return (identical or same)[-1] if same else None
