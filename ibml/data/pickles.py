from pathlib import Path
from typing import Any

import numpy as np


def load_array(path: Path) -> Any:
    return np.load(path, allow_pickle=False)
