"""Names of the files in a trial's folder, and which of them are kept.

Drivers use this module; it does not import torch.
"""

from __future__ import annotations

import re
from contextlib import suppress

from ibml.common.storage import StoragePath, find_paths
from ibml.config.optimization import Keep

SELECTED = "selected.ckpt"
"""Name of the file with the weights of the selected epoch."""
STALLED = "stalled.txt"
"""Name of the file with the stack of a worker that was ended because its epoch stalled."""
_STATE = re.compile(r"state-\d{6,}\.ckpt")


def list_states(folder: StoragePath) -> list[StoragePath]:
    """Return the states in a trial's folder, the latest first."""
    paths = find_paths(folder, "state-*.ckpt")
    states = [path for path in paths if _STATE.fullmatch(path.name)]
    return states[::-1]


def parse_epochs(path: StoragePath) -> int:
    """Return the number of epochs before a state, from its name."""
    return int(path.stem.partition("-")[2])


def is_trial_file(name: str) -> bool:
    """Return true if ibml writes files of this name into a trial's folder."""
    return name in (SELECTED, STALLED) or _STATE.fullmatch(name) is not None


def list_retained_files(folder: StoragePath, keep: str) -> set[str]:
    """Return the names of the files to keep in the folder of a finished trial.

    Args:
        folder: Folder of the trial.
        keep: The trial's `trainer.keep`.

    Returns:
        Names without the folder; some of the files may not exist.
    """
    retained = set() if keep == "none" else {SELECTED}
    if keep == "all":
        retained |= {path.name for path in list_states(folder)}
    return retained


def remove_checkpoints(folder: StoragePath, keep: Keep) -> None:
    """Remove the checkpoints that are not kept from the folder of an ended trial.

    Files with other names do not belong to ibml: they and the folder are kept. Files that cannot be
    removed now are left to `ibml gc`.

    Args:
        folder: Folder of the trial.
        keep: The trial's `trainer.keep`.
    """
    with suppress(OSError):
        if not folder.is_dir():
            return
        retained = list_retained_files(folder, keep)
        for path in folder.iterdir():
            if is_trial_file(path.name) and path.name not in retained:
                path.unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()
