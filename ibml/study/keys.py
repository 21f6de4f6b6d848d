"""Keys: the name of a trial's result."""

from __future__ import annotations

import hashlib
import json

from ibml.config.trial import TrialConfig, canonical
from ibml.training.revision import TRAINER_REVISION


def trial_key(config: TrialConfig, fingerprint: str) -> str:
    """SHA-256 of all that determines the result: the canonical configuration, the data set's fingerprint
    and the trainer's revision. The same key means the same numbers on the same kind of machine."""
    content = {"config": canonical(config), "data": fingerprint, "trainer": TRAINER_REVISION}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
