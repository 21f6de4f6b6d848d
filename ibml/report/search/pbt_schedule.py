"""Schedule of the best member of a population.

The result of population-based training is a schedule of values, not one configuration.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ibml.common.formatting import format_value
from ibml.records import SearchRecord
from ibml.report.tables.formats.markdown import escape_markdown, format_code


@dataclass(frozen=True)
class ScheduleStep:
    """A step of a schedule.

    Attributes:
        epoch: First epoch of the step, from 0.
        member: Number of the member that trained it.
        values: Parameter -> value.
    """

    epoch: int
    member: int
    values: dict[str, Any]


def build_schedule(record: SearchRecord) -> list[ScheduleStep]:
    """Return the schedule that led to the best member, from the first step.

    A member that took over another member's state inherits the earlier steps of that member.
    """
    members = {proposal.number: proposal for proposal in record.proposals}
    number, end = record.best, float("inf")
    steps: list[ScheduleStep] = []
    while number is not None:
        member = members[number]
        change = next((c for c in reversed(member.changes) if c.epoch < end), None)
        if change is None:
            steps.append(ScheduleStep(0, number, member.params))
            break
        steps.append(ScheduleStep(change.epoch, number, change.values))
        number, end = change.source, change.epoch
    return steps[::-1]


def format_schedule(record: SearchRecord) -> list[str]:
    """Return the schedule as a section of a Markdown page, line by line."""
    names = list(record.parameters)
    lines = [
        "These are the last values. The result comes from the whole schedule below, in which each"
        " row applies from its epoch (counted from 0). `ibml train` cannot replay a schedule."
        " trials.csv has the initial values of the members.",
        "",
        "## Schedule",
        "",
        f"| from epoch | member | {' | '.join(map(format_code, names))} |",
        "|---" * (len(names) + 2) + "|",
    ]
    for step in build_schedule(record):
        cells = [str(step.epoch), str(step.member)]
        cells += [format_value(step.values.get(name), none="–") for name in names]
        lines.append(f"| {' | '.join(map(escape_markdown, cells))} |")
    return lines


def format_schedule_note(record: SearchRecord) -> str:
    """Return a comment for a preset with the schedule; empty without population-based training."""
    if record.scheduler["type"] != "pbt":
        return ""
    lines = [
        "These are the LAST values of a schedule, which `ibml train` cannot replay. The validation",
        "result belongs to the whole schedule, from epoch ...",
    ]
    for step in build_schedule(record):
        values = [f"{path} {format_value(v, none='–')}" for path, v in step.values.items()]
        lines.append(f"  {step.epoch} ({', '.join(values)})")
    return format_comment(lines)


def format_comment(lines: Iterable[str]) -> str:
    """Return lines of a YAML comment; a line break within a line cannot end the comment."""
    return "".join(f"# {' '.join(line.splitlines())}\n" for line in lines)
