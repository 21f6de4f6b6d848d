"""The commands that look after data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ibml.terminal import errors, fail, out

Name = Literal["cremad", "ave", "food101", "mvsa", "modelnet40", "mnist3d"]
SHOWN = 5
"""Samples that could not be prepared are named up to so many."""

app = typer.Typer(help="Prepare data sets.", no_args_is_help=True)


@app.callback()
def _data() -> None:
    pass


@app.command()
def prepare(
    name: Annotated[Name, typer.Argument(help="The data set.")],
    raw: Annotated[Path, typer.Option("--from", help="Folder with the data set as distributed; it is only read.")],
    root: Annotated[Path, typer.Option("--root", help="Folder for the data set as ibml reads it.")],
) -> None:
    """Put a data set, as distributed, into the layout that ibml reads.

    The same command again goes on where it was ended, and makes what is missing.

    \b
    ibml data prepare cremad --from CREMA-D --root data/cremad
    ibml data prepare ave --from AVE_Dataset --root data/ave
    ibml data prepare mvsa --from MVSA_Single --root data/mvsa
    """
    with errors():
        from ibml.data.prepare.sets import prepare as run

        try:
            work = run(name, raw, root, out)
        except KeyboardInterrupt:
            fail("\nInterrupted. What was made is kept; the same command goes on with the rest.", 130)
    out.print(f"{name}: {work.made:,} files and folders made, {work.kept:,} were there, in {root}", soft_wrap=True)
    if work.failed:
        shown = [f"  {sample}: {reason}" for sample, reason in list(work.failed.items())[:SHOWN]]
        more = [f"  and {len(work.failed) - SHOWN:,} more"] if len(work.failed) > SHOWN else []
        fail("\n".join([f"{len(work.failed):,} could not be prepared:", *shown, *more]), 1)
