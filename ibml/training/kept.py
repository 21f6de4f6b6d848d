"""The files in a trial's folder by name, and which stay. Drivers use this, which need no torch."""

from __future__ import annotations

from contextlib import suppress

from ibml.config.optimization import Keep
from ibml.files import UNFINISHED
from ibml.storage import Place, matching

SELECTED = "selected.ckpt"
"""The name of the file with the selected epoch's weights."""


def states(folder: Place) -> list[Place]:
    """The states in a trial's folder, the last first."""
    return matching(folder, "state-*.ckpt")[::-1]


def epochs_of(path: Place) -> int:
    """After how many epochs a state is."""
    return int(path.stem.partition("-")[2])


def staying(folder: Place, keep: str) -> set[str]:
    """The names of the files that stay in the folder of a trial that has finished."""
    selected = set() if keep == "none" else {SELECTED}
    return selected | ({path.name for path in states(folder)} if keep == "all" else set())


def clear(folder: Place, keep: Keep) -> None:
    """Remove from the folder of a trial that has ended what is not to stay. What is out of reach is left to gc."""
    with suppress(OSError):
        if not folder.is_dir():
            return
        stay = staying(folder, keep)
        for path in folder.iterdir():
            if path.name not in stay and not path.name.endswith(UNFINISHED):
                path.unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()
