"""Commands for data sets: list, check and prepare them, and manage the cache."""

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

from ibml.cli.console import fail, handle_errors, out
from ibml.cli.options import Overrides
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

MAX_ISSUES = 20
"""Number of issues that `check` prints without `--all`."""
MAX_FAILURES = 5
"""Number of samples that could not be prepared of which `prepare` prints the reason."""
# After a backspace character, click keeps the lines of a paragraph.
_CHECK_EXAMPLES = """\b
Examples:
  ibml data check cremad --root data/cremad
  ibml data check mine.yaml -o data.use=[image,text]
"""
_PREPARE_EXAMPLES = """\b
Examples:
  ibml data prepare cremad --from CREMA-D --root data/cremad
  ibml data prepare ave --from AVE_Dataset --root data/ave
  ibml data prepare mvsa --from MVSA_Single --root data/mvsa
"""

app = typer.Typer(
    help="Manage data sets and their cache.",
    no_args_is_help=True,
)


@app.command("list")
def list_sets(
    root: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Folder with one folder per data set. Default: IBML_DATA."
        ),
    ] = None,
) -> None:
    """List the supported data sets.

    Prints the source of each data set, and the samples found on this machine.
    """
    with handle_errors():
        from ibml.config.data import DATASET_CONFIGS
        from ibml.config.datasets import FilesConfig
        from ibml.data.files.file_dataset import describe_folder

        folder = root
        if not folder and os.environ.get(DATA_VARIABLE):
            folder = Path(os.environ[DATA_VARIABLE])
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        headings = (
            "type",
            "family",
            "data set",
            "train / val / test",
            "source",
            "license",
            "found",
        )
        for heading in headings:
            table.add_column(heading, overflow="fold")
        for name, kind in DATASET_CONFIGS.items():
            about = kind.about
            found = about.rows
            if issubclass(kind, FilesConfig):
                found = describe_folder(kind, folder)
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
        if folder:
            out.print(f"Searched folder: {folder}")
        else:
            out.print(f"No folder was searched: give --root, or set {DATA_VARIABLE}")


@app.command(epilog=_CHECK_EXAMPLES)
def check(
    name: Annotated[
        str,
        typer.Argument(metavar="CONFIG", help="Preset (cremad, ...) or .yaml file of a trial."),
    ],
    root: Annotated[
        Path | None,
        typer.Option(
            "--root", metavar="PATH", help="Folder of the data set. Default: the one in CONFIG."
        ),
    ] = None,
    override: Overrides = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Print all problems, not only the first 20.")
    ] = False,
) -> None:
    """Validate every sample of a data set.

    Prints the problems, the number of samples per class and split, and the shapes of a batch.
    """
    with handle_errors():
        from ibml.config.data import DataPluginConfig
        from ibml.config.datasets import FilesConfig
        from ibml.study.engine.data_preparation import show_data_progress
        from ibml.study.planning.plan import load_trial

        overrides = [*(override or ())]
        if root:
            overrides.append(f"data.root={json.dumps(str(root))}")
        config = load_trial(name, overrides).data
        if not isinstance(config, FilesConfig):
            is_plugin = isinstance(config, DataPluginConfig)
            origin = "comes from a plug-in" if is_plugin else "is included in ibml"
            out.print(f"{config.type} {origin}; there are no files to check.")
            return
        from ibml.data.files.inspection import inspect

        with show_data_progress(out) as progress:
            found = inspect(config, progress)
    _print_inspection(config, found, len(found.issues) if everything else MAX_ISSUES)


def _print_inspection(config: FilesConfig, found: Inspection, max_issues: int) -> None:
    """Print the result of a check, and exit with 1 if there are issues."""
    from ibml.config.datasets import HoldoutConfig

    usable = sum(counts.total() for counts in found.counts.values())
    out.print(
        f"{config.type} in {found.root}, fingerprint {found.fingerprint[:12]}", soft_wrap=True
    )
    out.print(f"{found.listed:,} samples listed, {usable:,} usable, {len(found.classes)} classes")
    if found.counts:
        out.print(_build_class_table(found))
    if isinstance(config, HoldoutConfig) and "val" not in found.counts:
        out.print(
            f"Validation split: {config.validation:.0%} of each class of train, drawn by the seed"
            " of the trial."
        )
    for name, part in found.batch.items():
        values = f"{part.low:.4g} to {part.high:.4g}, mean {part.mean:.4g}"
        out.print(f"A batch of {name}: {part.shape}, {part.note or values}")
    for issue in found.issues[:max_issues]:
        out.print(str(issue), soft_wrap=True)
    if len(found.issues) > max_issues:
        out.print(f"and {len(found.issues) - max_issues:,} more (--all prints them)")
    if found.issues:
        number = len(found.issues)
        fail("1 problem found." if number == 1 else f"{number:,} problems found.", 1)
    out.print("No problems found.")


def _build_class_table(found: Inspection) -> Table:
    """Return the number of usable samples by class and split."""
    splits = [split for split in ("train", "val", "test") if split in found.counts]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("class", overflow="fold")
    for split in splits:
        table.add_column(split, justify="right")
    for label in found.classes:
        table.add_row(Text(label), *(f"{found.counts[split][label]:,}" for split in splits))
    table.add_row("all", *(f"{found.counts[split].total():,}" for split in splits))
    return table


@app.command()
def cache(
    clear: Annotated[
        bool,
        typer.Option(
            "--clear", help="Delete the cache. Its entries are computed again when needed."
        ),
    ] = False,
) -> None:
    """Show the size of the cache of decoded media, or clear it."""
    with handle_errors():
        from ibml.data.stores.cache import get_stores_folder, list_cache_entries

        if clear:
            ignore_output_errors()
        found = list_cache_entries()
        removed = [entry for entry in found if entry.remove()] if clear else []
        for entry in found:
            is_kept = clear and entry not in removed
            note = " (in use by another process, not removed)" if is_kept else ""
            out.print(f"{entry.size / 1e6:10,.1f} MB  {entry.name}{note}", soft_wrap=True)
        verb, counted = ("removed from", removed) if clear else ("in", found)
        total = sum(entry.size for entry in counted) / 1e6
        out.print(f"{total:10,.1f} MB {verb} {get_stores_folder()}", soft_wrap=True)


@app.command(epilog=_PREPARE_EXAMPLES)
def prepare(
    name: Annotated[Prepared, typer.Argument(metavar="DATASET", help="Type of the data set.")],
    raw: Annotated[
        Path,
        typer.Option(
            "--from",
            metavar="PATH",
            help="Folder of the data set as distributed. It is not changed.",
        ),
    ],
    root: Annotated[
        Path,
        typer.Option("--root", metavar="PATH", help="Folder for the prepared data set."),
    ],
) -> None:
    """Convert a data set as distributed to the layout that ibml reads.

    Repeat the command after an interruption or failure: it creates only the missing files.
    """
    with handle_errors():
        from ibml.data.prepare.run import prepare as prepare_dataset

        ignore_output_errors()
        try:
            work = prepare_dataset(name, raw, root, out)
        except KeyboardInterrupt:
            fail(
                "\nStopped. Finished files are kept. Repeat the command to create the others.",
                exit_code(),
            )
    out.print(
        f"{name}: {work.created:,} files and folders created, {work.reused:,} existed, in {root}",
        soft_wrap=True,
    )
    if work.failed:
        lines = [f"{len(work.failed):,} could not be prepared:"]
        failures = list(work.failed.items())
        lines += [f"  {sample}: {reason}" for sample, reason in failures[:MAX_FAILURES]]
        if len(failures) > MAX_FAILURES:
            lines.append(f"  and {len(failures) - MAX_FAILURES:,} more")
        fail("\n".join(lines), 1)
