"""What the best member of a population was trained with, epoch by epoch: a result of population-based training is a
schedule of values, not one configuration."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ibml.records import SearchRecord
from ibml.report.tables.formats.markdown import escape_markdown, format_code


@dataclass(frozen=True)
class ScheduleStep:
    """From `epoch` on, counted from 0, the training was that of a member with these values."""

    epoch: int
    member: int
    values: dict[str, Any]


def build_schedule(record: SearchRecord) -> list[ScheduleStep]:
    """The lineage of the best member, oldest step first: a member that took over another one's state has that one's
    steps before."""
    members = {p.number: p for p in record.proposals}
    number, until = record.best, float("inf")
    steps: list[ScheduleStep] = []
    while number is not None:
        member = members[number]
        change = next((c for c in reversed(member.changes) if c.epoch < until), None)
        steps.append(
            ScheduleStep(change.epoch, number, change.values)
            if change
            else ScheduleStep(0, number, member.params)
        )
        number, until = (change.source, change.epoch) if change else (None, 0)
    return steps[::-1]


def format_schedule(record: SearchRecord) -> list[str]:
    """The schedule as a section of the page."""
    names = list(record.parameters)
    rows = [
        [str(s.epoch), str(s.member), *(_format_value(s.values.get(name)) for name in names)]
        for s in build_schedule(record)
    ]
    return [
        "These are the last values. The result comes from the whole schedule, in which each row holds from its epoch"
        " (counted from 0) on; `ibml train` cannot replay it. In trials.csv are the values that members began with.",
        "",
        "## Schedule",
        "",
        f"| from epoch | member | {' | '.join(map(format_code, names))} |",
        "|---" * (len(names) + 2) + "|",
        *(f"| {' | '.join(map(escape_markdown, row))} |" for row in rows),
    ]


def format_schedule_note(record: SearchRecord) -> str:
    """What the head of a preset says of its values; nothing where the search is no population."""
    if record.scheduler["type"] != "pbt":
        return ""
    steps = [
        f"{s.epoch} ({', '.join(f'{p} {_format_value(v)}' for p, v in s.values.items())})"
        for s in build_schedule(record)
    ]
    lines = [
        "These are the LAST values of a schedule, which `ibml train` cannot replay: what was found on validation",
        "belongs to the whole schedule, from epoch ...",
        *(f"  {step}" for step in steps),
    ]
    return format_comment(lines)


def format_comment(lines: Iterable[str]) -> str:
    """Lines of a YAML comment, which none of them can end."""
    return "".join(f"# {' '.join(line.splitlines())}\n" for line in lines)


def _format_value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "–" if value is None else str(value)
