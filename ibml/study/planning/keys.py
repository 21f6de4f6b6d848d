"""Keys: content hashes that identify the results of trials, and training prefixes."""

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
"""Trainer revisions that results may have, also of newer versions of ibml."""


def compute_trial_key(config: TrialConfig, fingerprint: str) -> str:
    """Return the key of a trial: the SHA-256 of everything that determines its result.

    That is the canonical configuration, the data set, the trainer's revision and the source of
    plug-ins. The same key means the same metrics on the same kind of machine.

    Args:
        config: Configuration with the seed.
        fingerprint: Fingerprint of the data set.

    Returns:
        64 hexadecimal digits.
    """
    return _hash_trial(build_canonical_form(config), fingerprint, TRAINER_REVISION)


def find_revision(key: str, config: TrialConfig, fingerprint: str) -> int | None:
    """Return the trainer's revision with which a configuration has this key.

    Args:
        key: Key of a result.
        config: Configuration with the seed.
        fingerprint: Fingerprint of the data set.

    Returns:
        The revision, or None if the key belongs to another configuration or data set.
    """
    form = build_canonical_form(config)
    for revision in _REVISIONS:
        if _hash_trial(form, fingerprint, revision) == key:
            return revision
    return None


def _hash_trial(form: dict[str, Any], fingerprint: str, revision: int) -> str:
    content = {"config": form, "data": fingerprint, "trainer": revision}
    if plugins := hash_plugin_sources(flatten(form)):
        content["plugins"] = plugins
    return _hash_content(content)


def compute_prefix_keys(config: TrialConfig, fingerprint: str, code: str) -> list[bytes]:
    """Return the key of the training state after each epoch.

    A key is a hash of the code and of the values that influence the epochs until then. Trials that
    differ only later share the keys of their common prefix. A schedule counts by the values that it
    takes; settings that influence only later epochs are left out.

    Args:
        config: Configuration with the seed.
        fingerprint: Fingerprint of the data set.
        code: Hash of the code.

    Returns:
        One key of 16 bytes per epoch.
    """
    form = build_canonical_form(config)
    measures = select_training_measures(config.trainer.measures)
    trainer = {k: v for k, v in form["trainer"].items() if k not in ("epochs", "measures")}
    trainer["discrepancy"] = False  # part of the hash since it was the only measure of training
    trainer |= dict.fromkeys(measures, True)
    content = {
        **form,
        "trainer": trainer,
        "optimizer": {k: v for k, v in form["optimizer"].items() if k != "lr"},
        "head": config.head.model_dump(mode="json"),
        "data": [fingerprint, form["data"]],
        "revisions": [code, TRAINER_REVISION],
        "plugins": hash_plugin_sources(flatten(form)),
    }
    del content["method"], content["schedule"]
    hashed = hashlib.sha256(_serialize(content).encode())
    keys = []
    for epoch in range(config.trainer.epochs):
        factor = lr_factor(config.schedule, config.trainer.epochs, epoch)
        inputs = [
            config.optimizer.lr * factor,
            config.effective_method.get_epoch_inputs(config, epoch),
        ]
        hashed.update(_serialize(inputs).encode())
        keys.append(hashed.digest()[:16])
    return keys


def compute_trial_shape(config: TrialConfig) -> str:
    """Return what determines the duration of a training: `0123456789ab/40`.

    Args:
        config: A configuration.

    Returns:
        Hash of the settings that determine the duration of an epoch, and the number of epochs.
    """
    form = build_canonical_form(config)
    trainer: dict[str, Any] = {"device": config.trainer.device}
    for name in ("batch_size", "eval_batch_size", "precision", "threads", "compile"):
        if name in form["trainer"]:
            trainer[name] = form["trainer"][name]
    content = {
        "data": form.get("data"),
        "encoders": form.get("encoders"),
        "fusion": form.get("fusion"),
        "method": form["method"].get("target", form["method"]["type"]),
        "optimizer": form["optimizer"]["type"],
        "trainer": trainer,
    }
    return f"{_hash_content(content)[:12]}/{config.trainer.epochs}"


def compute_population_key(search: str, spec: Mapping[str, Any]) -> str:
    """Return the key of a population of population-based training.

    Args:
        search: Name of the search, which distinguishes versions.
        spec: Specification of the search, with the data set and the trainer's revision.

    Returns:
        64 hexadecimal digits.
    """
    return _hash_content({"population": search, "spec": spec})


def compute_member_key(population: str, number: int) -> str:
    """Return the key of a member's result, which its configuration alone does not determine.

    Args:
        population: Key of the population.
        number: Number of the member.

    Returns:
        64 hexadecimal digits, different from every trial's key.
    """
    return _hash_content({"population": population, "member": number})


def _hash_content(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(_serialize(content).encode()).hexdigest()


def _serialize(content: Any) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))
