"""Plug-ins: methods, fusions, encoders and data sets of other packages, named in YAML.

    method: {type: plugin, target: "mypackage.methods:Mine", options: {alpha: 0.3}}

A `target` without a colon is the name of an entry point in the group `ibml.methods`, `ibml.fusions`, `ibml.encoders`
or `ibml.datasets`. The package must be allowed first, see `ibml.config.plugins.allowlist`; until then nothing of it
is imported.

    class Mine(Method):
        class Options(Config):
            alpha: NonNegative = 0.5

            def problems(self, trial: TrialConfig) -> list[str]:
                return [] if len(trial.modalities) == 2 else ["takes two modalities"]

        def loss(self, outputs: Outputs, labels: Tensor, rho: Tensor, epoch: int) -> Tensor:
            return self.options.alpha * super().loss(outputs, labels, rho, epoch)

`Options`, a subclass of `ibml.config.base.Config`, says which options there are; a class without one has none. They are
checked with the file, at their lines. They go through YAML and JSON, so a field may have any type that pydantic reads
from JSON: numbers, text, lists, tuples, sets, `Path`, `Literal`, `Enum`, `datetime`, other models and dataclasses.
`problems`, which may be left out, says why a plug-in does not fit a trial. The classes, and what each is called with:

- a method, `ibml.methods.Method`: (trial, options, model, samples, precision), which its own constructor takes. It has
  `options`, `seed`, `epochs`, `model`, `memory`, `heads` (modules that are trained with it), a `generator` seeded for
  each epoch, and, from `begin` on, `training`: its splits and optimizer. What else outlives an epoch goes into
  `state_dict`. With an option `window`, an `ibml.config.methods.base.Window`, `active` says whether an epoch is in it.
  A class whose loss has no gradient by the unimodal logits saves time by a `uses_unimodal` that returns False.
- a fusion, `ibml.models.fusion.Fusion`: (options, modalities, widths, classes), `widths` of the features by modality.
- an encoder, `torch.nn.Module`: (options, shape, features), one sample's shape and the width of what it must give,
  `features` beside `target` in YAML. It gets text as token ids; with a method `embed`, which makes vectors of them
  (`ibml.inputs.Sequences` of both), it gets ids or vectors, and what changes inputs has numbers to change.
- a data set, `ibml.data.base.Source`: (options). It says its `kinds`, its content's `fingerprint`, and `load`s.

Layers of fusions and encoders are initialised as all others, but for modules whose attribute `keeps_weights` is true;
`after_initialisation`, if there is one, comes after that.
Random numbers of a method come from a generator seeded by `ibml.common.rng.stream_seed`.

A trial's key has a hash of the plug-in's source: of its file, or of all .py files of its top-level package. Files are
hashed whatever version is installed, since a version says nothing of an edit, and reading a package takes less than
importing it. What a plug-in imports besides is not in the hash: make a package of code that has several files.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from ibml.common.errors import IbmlError, format_suggestion
from ibml.config.base import Config, WrongOptions
from ibml.config.components.component import ComponentConfig
from ibml.config.plugins.allowlist import (
    allow_from_folder,
    find_allowed_package,
    find_package_folder,
)
from ibml.config.plugins.failures import format_error
from ibml.config.plugins.plain_data import read_plain, sort_sets

if TYPE_CHECKING:
    from ibml.config.trial import TrialConfig

ComponentKind = Literal["method", "fusion", "encoder", "dataset"]

_BASES: dict[ComponentKind, str] = {
    "method": "ibml.methods.base.Method",
    "fusion": "ibml.models.fusion.Fusion",
    "encoder": "torch.nn.modules.module.Module",
    "dataset": "ibml.data.base.Source",
}
"""By name, since the classes are in layers above and import torch."""
_KINDS: dict[str, ComponentKind] = {
    "method": "method",
    "fusion": "fusion",
    "encoders": "encoder",
    "data": "dataset",
}
_TARGET = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")


class PluginConfig(ComponentConfig):
    """A class of another package; `ibml.config.plugins.plugin_config` says what it must be."""

    kind: ClassVar[ComponentKind]
    type: Literal["plugin"] = "plugin"
    """A class of another package."""
    target: str
    """`module:Class`, or the name of an entry point in the group `ibml.methods`, `ibml.fusions`, `ibml.encoders` or
    `ibml.datasets`."""
    options: Annotated[dict[str, Any], Field(validate_default=True)] = {}
    """Options of the plug-in, as its class `Options` declares them."""

    @field_validator("target")
    @classmethod
    def _can_be_used(cls, target: str) -> str:
        _get_options_class(load_plugin_class(cls.kind, target), target)
        return target

    @field_validator("options")
    @classmethod
    def _are_its_own(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        """Every option with its value, so that one left out is the same as its default."""
        if "target" not in info.data:
            return options
        typed = _parse_options(cls.kind, info.data["target"], options)
        plain: dict[str, Any] = sort_sets(typed.model_dump(mode="json"), typed)
        return plain

    def load_implementation(self) -> Any:
        """Return the plug-in's class."""
        return load_plugin_class(self.kind, self.target)

    @property
    def resolved_target(self) -> str:
        """`module:Class` of the target, which may be the name of an entry point."""
        return resolve_target(self.kind, self.target)

    @property
    def typed_options(self) -> Config:
        """The options as the class that the plug-in has for them."""
        return _parse_options(self.kind, self.target, self.options)

    def problems(self, trial: TrialConfig) -> list[str]:
        """Why the plug-in does not fit a trial, in its own words."""
        options = self.typed_options
        check = getattr(type(options), "problems", None)
        if check is None:
            return []
        try:
            return list(check(options, trial))
        except Exception as error:  # noqa: BLE001
            return [f"{self.target}.Options.problems failed: {format_error(error)}"]


def load_plugin_class(kind: ComponentKind, target: str) -> type[Any]:
    """The class that a target names; raises `ValueError` that says why it cannot be used."""
    module_name, name = resolve_target(kind, target).split(":")
    find_allowed_package(_get_package(module_name))
    hash_source(_get_package(module_name))  # before the import, so that it is of what is imported
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # noqa: BLE001
        missing = isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(
            f"{error.name}."
        )
        message = (
            f"there is no module {module_name!r}"
            if missing
            else f"{module_name} fails: {format_error(error)}"
        )
        raise ValueError(message) from None
    found = getattr(module, name, None)
    if not isinstance(found, type):
        usable = [
            n
            for n, value in vars(module).items()
            if _is_a(kind, value) and value.__module__ == module_name
        ]
        what = "is no class" if hasattr(module, name) else "does not exist"
        raise ValueError(f"{name!r} of {module_name} {what}{format_suggestion(name, usable)}")
    if not _is_a(kind, found):
        raise ValueError(
            f"{name!r} of {module_name} is no {kind}: it must be a subclass of {_BASES[kind]}"
        )
    return found


def _is_a(kind: ComponentKind, value: Any) -> bool:
    return isinstance(value, type) and _BASES[kind] in {
        f"{c.__module__}.{c.__qualname__}" for c in value.__mro__
    }


@cache
def resolve_target(kind: ComponentKind, target: str) -> str:
    """`module:Class` of a target; raises `ValueError` for one that is neither that nor an entry point's name."""
    if ":" in target:
        if not _TARGET.fullmatch(target):
            raise ValueError(f"{target!r} is not of the form module:Class")
        return target
    group = entry_points(group=f"ibml.{kind}s")
    values = {point.value.partition("[")[0].strip() for point in group if point.name == target}
    if not values:
        hint = format_suggestion(target, {point.name for point in group})
        raise ValueError(
            f"no installed package has a {kind} called {target!r}{hint} (or name module:Class)"
        )
    if len(values) > 1:
        raise ValueError(
            f"{target!r} is {' and '.join(sorted(values))}; name the one that is meant"
        )
    value = values.pop()
    if not _TARGET.fullmatch(value):
        raise ValueError(
            f"the entry point {target!r} is {value!r}, which is not of the form module:Class"
        )
    return value


class _NoOptions(Config):
    """For plug-ins that have none."""


def _get_options_class(implementation: type[Any], target: str) -> type[Config]:
    found = getattr(implementation, "Options", _NoOptions)
    if not (isinstance(found, type) and issubclass(found, Config)):
        raise ValueError(f"{target}.Options must be a subclass of ibml.config.base.Config")
    return found


def _parse_options(kind: ComponentKind, target: str, options: dict[str, Any]) -> Config:
    model = _get_options_class(load_plugin_class(kind, target), target)
    try:
        return read_plain(model, options)
    except ValidationError as error:
        raise WrongOptions(error, model, options) from None
    except Exception as error:  # noqa: BLE001
        raise ValueError(f"{target}.Options fails: {format_error(error)}") from None


def _get_package(target: str) -> str:
    return target.partition(":")[0].partition(".")[0]


@cache
def hash_source(package: str) -> str:
    """Of an allowed package's code: its file, or all its .py files by their places in it."""
    spec = find_allowed_package(package)
    if spec.submodule_search_locations is None:
        files = {"": Path(spec.origin or "")}
    else:
        roots = map(Path, spec.submodule_search_locations)
        files = {
            path.relative_to(root).as_posix(): path for root in roots for path in root.rglob("*.py")
        }
    digest = hashlib.sha256()
    for name in sorted(files):
        content = files[name].read_bytes() if files[name].is_file() else b""
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def hash_plugin_sources(flat: Mapping[str, Any]) -> dict[str, str]:
    """Package -> hash of its source, for the plug-ins that a configuration (dotted path -> value) names."""
    found = set()
    for path, target in flat.items():
        steps = path.split(".")
        if steps[0] in _KINDS and steps[-1] == "target" and "options" not in steps:
            found.add(_get_package(resolve_target(_KINDS[steps[0]], target)))
    return {package: hash_source(package) for package in sorted(found)}


def collect_plugin_packages(flat: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """What a worker needs for the plug-ins of a configuration: package -> (folder, hash)."""
    return {
        package: (str(find_package_folder(package)), digest)
        for package, digest in hash_plugin_sources(flat).items()
    }


def allow_received_plugins(packages: Mapping[str, tuple[str, str]]) -> None:
    """In a worker: allow what the driver has allowed, if it is the same code. Raises `IbmlError`."""
    for package, (folder, digest) in packages.items():
        allow_from_folder(Path(folder), package)
        try:
            own = hash_source(package)
        except ValueError as error:
            raise IbmlError(f"plug-in {package}: {error}, on a worker") from None
        if own != digest:
            raise IbmlError(
                f"the plug-in {package} of a worker is not the code that the study was started with"
            )
