"""The commands that look after data sets."""

from __future__ import annotations

import json
import os
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from ibml.cli.console import Overrides, errors, fail, out
from ibml.cli.standard_streams import ignore_output_errors
from ibml.common.paths import DATA_VARIABLE
from ibml.common.processes.interruption import exit_code
from ibml.config.components.registry import DATASETS

if TYPE_CHECKING:
    from ibml.config.datasets import FilesConfig
    from ibml.data.files.inspection import Inspection

    Prepared = str
else:
    # Found by folder: importing the configurations would delay `--help`.
    _SETS = files("ibml") / "data" / "sets"
    Prepared = Literal[tuple(name for name in DATASETS if (_SETS / name / "prepare.py").is_file())]

SHOWN_DAMAGES = 20
SHOWN = 5
"""Samples that could not be prepared are named up to so many."""

app = typer.Typer(
    help="Data sets: list, check and prepare them, and what is cached of them.",
    no_args_is_help=True,
)


@app.command("list")
def list_sets(
    root: Annotated[
        Path | None, typer.Option(help="Folder with a folder per data set; default: IBML_DATA.")
    ] = None,
) -> None:
    """Show which data sets there are, where to get them, and which are found."""
    with errors():
        from ibml.config.data import DATASET_CONFIGS
        from ibml.config.datasets import FilesConfig
        from ibml.data.files.file_dataset import describe_folder

        around = root or (
            Path(os.environ[DATA_VARIABLE]) if os.environ.get(DATA_VARIABLE) else None
        )
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for heading in (
            "type",
            "family",
            "data set",
            "train / val / test",
            "from",
            "licence",
            "found",
        ):
            table.add_column(heading, overflow="fold")
        for name, kind in DATASET_CONFIGS.items():
            about = kind.about
            found = describe_folder(kind, around) if issubclass(kind, FilesConfig) else about.rows
            cells = (
                name,
                about.family,
                about.title,
                about.rows,
                about.source,
                about.licence,
                found,
            )
            table.add_row(*map(Text, cells))
        out.print(table)
        out.print(
            f"Looked for in {around}"
            if around
            else f"Nothing says where they are: --root, or {DATA_VARIABLE}"
        )


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="A preset (cremad, ...) or a .yaml file of a trial.")],
    root: Annotated[
        Path | None, typer.Option("--root", help="The data set's folder; default: the file's.")
    ] = None,
    override: Overrides = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Name everything that is wrong, not the first 20.")
    ] = False,
) -> None:
    """Look at every sample of a data set: what is wrong, what there is, and a batch as the encoders get it.

    \b
    ibml data check cremad --root data/cremad
    ibml data check mine.yaml -o data.use=[image,text]
    """
    with errors():
        from ibml.config.data import DataPluginConfig
        from ibml.config.datasets import FilesConfig
        from ibml.study.engine.data_preparation import show_data_progress
        from ibml.study.planning.plan import load_trial

        given = [*(override or ()), *([f"data.root={json.dumps(str(root))}"] if root else [])]
        config = load_trial(name, given).data
        if not isinstance(config, FilesConfig):
            whose = (
                "is of another package"
                if isinstance(config, DataPluginConfig)
                else "ships with ibml"
            )
            out.print(f"{config.type} {whose}; there is nothing to check.")
            return
        from ibml.data.files.inspection import inspect

        with show_data_progress(out) as progress:
            found = inspect(config, progress)
    _print_inspection(config, found, len(found.issues) if everything else SHOWN_DAMAGES)


def _print_inspection(config: FilesConfig, found: Inspection, shown: int) -> None:
    from ibml.config.datasets import HoldoutConfig

    list_cache_entries = sum(sum(counts.values()) for counts in found.counts.values())
    out.print(
        f"{config.type} in {found.root}, fingerprint {found.fingerprint[:12]}", soft_wrap=True
    )
    out.print(
        f"{found.listed:,} samples listed, {list_cache_entries:,} can be used, {len(found.classes)} classes"
    )
    if found.counts:
        splits = [split for split in ("train", "val", "test") if split in found.counts]
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("class", overflow="fold")
        for split in splits:
            table.add_column(split, justify="right")
        for label in found.classes:
            table.add_row(Text(label), *(f"{found.counts[split][label]:,}" for split in splits))
        table.add_row("all", *(f"{sum(found.counts[split].values()):,}" for split in splits))
        out.print(table)
    if isinstance(config, HoldoutConfig) and "val" not in found.counts:
        out.print(
            f"Validation is {config.validation:.0%} of each class of train, drawn by the trial's seed."
        )
    for name, part in found.batch.items():
        values = f"{part.low:.4g} to {part.high:.4g}, mean {part.mean:.4g}"
        out.print(f"A batch of {name}: {part.shape}, {part.note or values}")
    for issue in found.issues[:shown]:
        out.print(str(issue), soft_wrap=True)
    if len(found.issues) > shown:
        out.print(f"and {len(found.issues) - shown:,} more (--all)")
    if found.issues:
        number = len(found.issues)
        fail("1 thing is wrong." if number == 1 else f"{number:,} things are wrong.", 1)
    out.print("Nothing is wrong.")


@app.command()
def cache(
    clear: Annotated[
        bool, typer.Option("--clear", help="Remove all; it is made again when needed.")
    ] = False,
) -> None:
    """Show what is kept of decoded media, and how large it is."""
    with errors():
        from ibml.data.stores.cache import get_stores_folder, list_cache_entries

        if clear:
            ignore_output_errors()
        found = list_cache_entries()
        gone = [entry for entry in found if entry.remove()] if clear else []
        for entry in found:
            note = "" if entry in gone or not clear else " (is being made, and stays)"
            out.print(f"{entry.size / 1e6:10,.1f} MB  {entry.name}{note}", soft_wrap=True)
        verb, counted = ("removed from", gone) if clear else ("in", found)
        out.print(
            f"{sum(entry.size for entry in counted) / 1e6:10,.1f} MB {verb} {get_stores_folder()}",
            soft_wrap=True,
        )


@app.command()
def prepare(
    name: Annotated[Prepared, typer.Argument(help="The data set.")],
    raw: Annotated[
        Path,
        typer.Option("--from", help="Folder with the data set as distributed; it is only read."),
    ],
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
        from ibml.data.prepare.run import prepare as run

        ignore_output_errors()
        try:
            work = run(name, raw, root, out)
        except KeyboardInterrupt:
            fail(
                "\nStopped. What was made is kept. Repeat the command to continue with the rest.",
                exit_code(),
            )
    out.print(
        f"{name}: {work.created:,} files and folders made, {work.reused:,} were there, in {root}",
        soft_wrap=True,
    )
    if work.failed:
        shown = [f"  {sample}: {reason}" for sample, reason in list(work.failed.items())[:SHOWN]]
        more = [f"  and {len(work.failed) - SHOWN:,} more"] if len(work.failed) > SHOWN else []
        fail("\n".join([f"{len(work.failed):,} could not be prepared:", *shown, *more]), 1)
