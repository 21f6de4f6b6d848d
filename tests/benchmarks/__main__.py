"""Measure training steps, prefix sharing and orchestration, and write the results into the README.

    python -m tests.benchmarks

This takes about half an hour on two cores, which should be idle otherwise.
"""

from __future__ import annotations

import os
import platform
from datetime import date
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks import orchestration, sharing, step
from tests.benchmarks.tables import markdown

README = Path(__file__).parent.parent.parent / "README.md"
BEGIN, END = "<!-- measured -->", "<!-- measured, end -->"


def main() -> None:
    """Run all benchmarks, and replace the table in the README."""
    rows = [*step.rows(), *sharing.rows(), *orchestration.rows()]
    names = ", ".join(
        f"{name} {version(name)}" for name in ("torch", "ray", "mlflow-skinny", "optuna")
    )
    where = (
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {names}"
    )
    print(table := markdown(rows))
    before, _, rest = README.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    README.write_text(
        f"{before}{BEGIN}\n{table}\n\nOn {where}; {date.today():%Y-%m-%d}.\n{END}{after}"
    )


if __name__ == "__main__":
    main()
