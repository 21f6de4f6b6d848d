"""The files in a trial's folder by name, and which stay. Drivers use this, which need no torch."""

from __future__ import annotations

import re
from contextlib import suppress

from ibml.common.storage import StoragePath, find_paths
from ibml.config.optimization import Keep

SELECTED = "selected.ckpt"
"""The name of the file with the selected epoch's weights."""
STALLED = "stalled.txt"
"""Where a trial's worker was when it was ended because no epoch did."""
_STATE = re.compile(r"state-\d{6,}\.ckpt")


def list_states(folder: StoragePath) -> list[StoragePath]:
    """The states in a trial's folder, the last first."""
    return [path for path in find_paths(folder, "state-*.ckpt") if _STATE.fullmatch(path.name)][
        ::-1
    ]


def parse_epochs(path: StoragePath) -> int:
    """After how many epochs a state is."""
    return int(path.stem.partition("-")[2])


def is_trial_file(name: str) -> bool:
    """Return whether a file of this name in a trial's folder was written by ibml."""
    return name in (SELECTED, STALLED) or _STATE.fullmatch(name) is not None


def list_retained_files(folder: StoragePath, keep: str) -> set[str]:
    """The names of the files that stay in the folder of a trial that has finished."""
    selected = set() if keep == "none" else {SELECTED}
    return selected | ({path.name for path in list_states(folder)} if keep == "all" else set())


def remove_checkpoints(folder: StoragePath, keep: Keep) -> None:
    """Remove the checkpoints that do not stay from the folder of a trial that has ended.

    Files of other names are not ibml's and stay, and with them the folder. What is out of reach is left to gc.
    """
    with suppress(OSError):
        if not folder.is_dir():
            return
        stay = list_retained_files(folder, keep)
        for path in folder.iterdir():
            if is_trial_file(path.name) and path.name not in stay:
                path.unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()
