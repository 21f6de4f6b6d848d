"""Keys: the name of a trial's result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ibml.config.metrics.names import select_training_measures
from ibml.config.plugins.plugin_config import hash_plugin_sources
from ibml.config.schedule import lr_factor
from ibml.config.trial import TrialConfig, build_canonical_form, flatten
from ibml.training.revision import TRAINER_REVISION

_REVISIONS = range(1, 1000)
"""Those in which a trainer may have recorded a result, later ones of another installation included."""


def compute_trial_key(config: TrialConfig, fingerprint: str) -> str:
    """SHA-256 of all that determines the result: the canonical configuration, the data set's fingerprint, the trainer's
    revision and the source of plug-ins. The same key means the same numbers on the same kind of machine."""
    return _hash_trial(build_canonical_form(config), fingerprint, TRAINER_REVISION)


def find_revision(key: str, config: TrialConfig, fingerprint: str) -> int | None:
    """The trainer's revision with which the configuration has this key, if there is one."""
    form = build_canonical_form(config)
    return next(
        (number for number in _REVISIONS if _hash_trial(form, fingerprint, number) == key), None
    )


def _hash_trial(form: dict[str, Any], fingerprint: str, revision: int) -> str:
    content = {"config": form, "data": fingerprint, "trainer": revision}
    if plugins := hash_plugin_sources(flatten(form)):
        content["plugins"] = plugins
    return _hash_content(content)


def compute_prefix_keys(config: TrialConfig, fingerprint: str, code: str) -> list[bytes]:
    """Names of the states that a training comes to: the i-th, of 16 bytes, is that after epoch i, a hash of the code
    and of the values that count in the epochs until then. Trainings that will differ share the names of what they have
    in common: a schedule counts by the values that it takes, and nothing does that says what comes later."""
    form = build_canonical_form(config)
    trainer = {
        name: value for name, value in form["trainer"].items() if name not in ("epochs", "measures")
    }
    content = {
        **form,
        # False has been in the hash since there was this one measure of training
        "trainer": trainer
        | {"discrepancy": False}
        | dict.fromkeys(select_training_measures(config.trainer.measures), True),
        "optimizer": {name: value for name, value in form["optimizer"].items() if name != "lr"},
        "head": config.head.model_dump(mode="json"),
        "data": [fingerprint, form["data"]],
        "revisions": [code, TRAINER_REVISION],
        "plugins": hash_plugin_sources(flatten(form)),
    }
    del content["method"], content["schedule"]
    hashed, names = hashlib.sha256(_serialize(content).encode()), []
    for epoch in range(config.trainer.epochs):
        lr = config.optimizer.lr * lr_factor(config.schedule, config.trainer.epochs, epoch)
        hashed.update(
            _serialize([lr, config.effective_method.get_epoch_inputs(config, epoch)]).encode()
        )
        names.append(hashed.digest()[:16])
    return names


def compute_trial_shape(config: TrialConfig) -> str:
    """What determines how long an epoch takes, as a hash, and the number of epochs: `0123456789ab/40`."""
    form = build_canonical_form(config)
    chosen = ("batch_size", "eval_batch_size", "precision", "threads", "compile")
    trainer = {name: form["trainer"][name] for name in chosen if name in form["trainer"]}
    content = {
        **{name: form.get(name) for name in ("data", "encoders", "fusion")},
        "method": form["method"].get("target", form["method"]["type"]),
        "optimizer": form["optimizer"]["type"],
        "trainer": {**trainer, "device": config.trainer.device},
    }
    return f"{_hash_content(content)[:12]}/{config.trainer.epochs}"


def compute_population_key(search: str, spec: Mapping[str, Any]) -> str:
    """SHA-256 of a population: the name of its search, which tells versions apart, and all that determines what is
    proposed, changed and trained, data set and trainer included."""
    return _hash_content({"population": search, "spec": spec})


def compute_member_key(population: str, number: int) -> str:
    """The key of a member's result, which its configuration alone does not determine: no trial's key is like it."""
    return _hash_content({"population": population, "member": number})


def _hash_content(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(_serialize(content).encode()).hexdigest()


def _serialize(content: Any) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))
