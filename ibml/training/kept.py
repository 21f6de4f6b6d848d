"""The files in a trial's folder by name, and which stay. Drivers use this, which need no torch."""

from __future__ import annotations

from pathlib import Path

from ibml.config.optimization import Keep
from ibml.files import UNFINISHED

SELECTED = "selected.ckpt"
"""The name of the file with the selected epoch's weights."""


def states(folder: Path) -> list[Path]:
    """The states in a trial's folder, the last first."""
    return sorted(folder.glob("state-*.ckpt"), reverse=True)


def epochs_of(path: Path) -> int:
    """After how many epochs a state is."""
    return int(path.stem.partition("-")[2])


def staying(folder: Path, keep: str) -> set[str]:
    """The names of the files that stay in the folder of a trial that has finished."""
    selected = set() if keep == "none" else {SELECTED}
    return selected | ({path.name for path in states(folder)} if keep == "all" else set())


def clear(folder: Path, keep: Keep) -> None:
    """Remove from the folder of a trial that has ended what is not to stay."""
    if not folder.is_dir():
        return
    stay = staying(folder, keep)
    for path in folder.iterdir():
        if path.name not in stay and not path.name.endswith(UNFINISHED):
            path.unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
