"""Configuration of plug-ins: methods, fusions, encoders and data sets of other packages.

A configuration names a plug-in by its class:

    method: {type: plugin, target: "mypackage.methods:Mine", options: {alpha: 0.3}}

A `target` without a colon is the name of an entry point in the group `ibml.methods`,
`ibml.fusions`, `ibml.encoders` or `ibml.datasets`. The package must be allowed first, see
`ibml.config.plugins.allowlist`; until then nothing of it is imported.

    class Mine(Method):
        class Options(Config):
            alpha: NonNegative = 0.5

            def problems(self, trial: TrialConfig) -> list[str]:
                return [] if len(trial.modalities) == 2 else ["takes two modalities"]

        def loss(self, outputs: Outputs, labels: Tensor, rho: Tensor, epoch: int) -> Tensor:
            return self.options.alpha * super().loss(outputs, labels, rho, epoch)

`Options`, a subclass of `ibml.config.base.Config`, declares the options. A class without it has no
options. Options are validated with the file, and errors name its lines. Options are stored as YAML
and JSON, so a field may have any type that pydantic reads from JSON: numbers, text, lists, tuples,
sets, `Path`, `Literal`, `Enum`, `datetime`, other models and dataclasses. The optional method
`problems` returns the reasons why the plug-in cannot be used in a trial.

Each kind of plug-in has a base class and fixed constructor arguments:

- Method, `ibml.methods.Method`: (trial, options, model, samples, precision), accepted by the
  constructor of the base class. It has the attributes `options`, `seed`, `epochs`, `model`,
  `memory`, `heads` (modules trained with it) and `generator` (seeded for each epoch). From `begin`
  on it has `training`: the splits and the optimizer. Any other state that outlives an epoch
  belongs into `state_dict`. If there is an option `window`, an `ibml.config.methods.base.Window`,
  `active` returns True for its epochs. If the loss has no gradient with respect to the unimodal
  logits, `uses_unimodal` should return False, which saves time.
- Fusion, `ibml.models.fusion.Fusion`: (options, modalities, widths, classes), where `widths` maps
  each modality to its number of features.
- Encoder, `torch.nn.Module`: (options, shape, features): the shape of one sample and the number of
  features to return, which is `features` next to `target` in YAML. Text arrives as token ids. If
  the encoder has a method `embed`, which converts ids to vectors (both are
  `ibml.inputs.Sequences`), `forward` receives ids or vectors. Methods that perturb inputs need
  this.
- Data set, `ibml.data.base.Source`: (options). It provides `kinds`, the `fingerprint` of its
  content, and `load`.

Layers of fusions and encoders are initialised like all others, except modules whose attribute
`keeps_weights` is true. The optional method `after_initialisation` is called afterwards. Seed the
random numbers of a method with `ibml.common.rng.stream_seed`.

The trial key contains a hash of the plug-in's source: of its file, or of all .py files of its
top-level package. Files are hashed regardless of the installed version, because an edit does not
change the version, and reading a package is faster than importing it. Other modules that the
plug-in imports are not hashed: put code of several files into a package.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
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
"""Base classes by name, because they are in higher layers and import torch."""
_KINDS: dict[str, ComponentKind] = {
    "method": "method",
    "fusion": "fusion",
    "encoders": "encoder",
    "data": "dataset",
}
"""Section of a trial's configuration -> kind of its components."""
_TARGET = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")


class PluginConfig(ComponentConfig):
    """Component of another package; see `ibml.config.plugins.plugin_config`."""

    kind: ClassVar[ComponentKind]
    type: Literal["plugin"] = "plugin"
    """Component of another package."""
    target: str
    """`module:Class`, or the name of an entry point in the group `ibml.methods`, `ibml.fusions`,
    `ibml.encoders` or `ibml.datasets`."""
    options: Annotated[dict[str, Any], Field(validate_default=True)] = {}
    """Options of the plug-in, declared by its class `Options`."""

    @field_validator("target")
    @classmethod
    def _check_target(cls, target: str) -> str:
        _get_options_class(load_plugin_class(cls.kind, target), target)
        return target

    @field_validator("options")
    @classmethod
    def _fill_defaults(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        """Validate the options and add defaults, so that a default and an omission are equal."""
        if "target" not in info.data:
            return options
        typed = _parse_options(cls.kind, info.data["target"], options)
        plain: dict[str, Any] = sort_sets(typed.model_dump(mode="json"), typed)
        return plain

    def load_implementation(self) -> Any:
        """Import and return the plug-in's class."""
        return load_plugin_class(self.kind, self.target)

    @property
    def resolved_target(self) -> str:
        """Target as `module:Class`, with entry points resolved."""
        return resolve_target(self.kind, self.target)

    @property
    def typed_options(self) -> Config:
        """Options as an instance of the plug-in's class `Options`."""
        return _parse_options(self.kind, self.target, self.options)

    def problems(self, trial: TrialConfig) -> list[str]:
        """Return the plug-in's reasons why it cannot be used in a trial."""
        options = self.typed_options
        check = getattr(type(options), "problems", None)
        if check is None:
            return []
        try:
            return list(check(options, trial))
        except Exception as error:  # noqa: BLE001
            return [f"{self.target}.Options.problems failed: {format_error(error)}"]


def load_plugin_class(kind: ComponentKind, target: str) -> type[Any]:
    """Import the class that a target names.

    Args:
        kind: Kind of the plug-in.
        target: `module:Class`, or the name of an entry point.

    Returns:
        The class.

    Raises:
        ValueError: The package is not allowed, or the class does not exist or is not of this kind.
    """
    module_name, name = resolve_target(kind, target).split(":")
    find_allowed_package(_get_package(module_name))
    # Hash the source before the import: the hash is then that of the imported code.
    hash_source(_get_package(module_name))
    module = _import_plugin_module(module_name)
    found = getattr(module, name, None)
    if not isinstance(found, type):
        usable = []
        for member, value in vars(module).items():
            if _is_defined_in(module_name, value) and _is_a(kind, value):
                usable.append(member)
        problem = "is not a class" if hasattr(module, name) else "does not exist"
        raise ValueError(f"{name!r} of {module_name} {problem}{format_suggestion(name, usable)}")
    if not _is_a(kind, found):
        raise ValueError(
            f"{name!r} of {module_name} is no {kind}: it must be a subclass of {_BASES[kind]}"
        )
    return found


def _import_plugin_module(module_name: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # noqa: BLE001
        message = f"{module_name} fails: {format_error(error)}"
        if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(
            f"{error.name}."
        ):
            message = f"there is no module {module_name!r}"
        raise ValueError(message) from None


def _is_defined_in(module_name: str, value: Any) -> bool:
    return isinstance(value, type) and value.__module__ == module_name


def _is_a(kind: ComponentKind, value: type[Any]) -> bool:
    names = {f"{base.__module__}.{base.__qualname__}" for base in value.__mro__}
    return _BASES[kind] in names


@cache
def resolve_target(kind: ComponentKind, target: str) -> str:
    """Resolve the name of an entry point.

    Args:
        kind: Kind of the plug-in.
        target: `module:Class`, or the name of an entry point.

    Returns:
        `module:Class`.

    Raises:
        ValueError: The target has neither form, or the entry point is missing or ambiguous.
    """
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
    """Options of a plug-in without a class `Options`."""


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
    """Hash the source of an allowed package without importing it.

    Args:
        package: Name of a top-level package.

    Returns:
        SHA-256 of its file, or of the relative paths and contents of all its .py files.

    Raises:
        ValueError: The package is not allowed, or not installed.
    """
    spec = find_allowed_package(package)
    files = {}
    if spec.submodule_search_locations is None:
        files[""] = Path(spec.origin or "")
    else:
        for root in map(Path, spec.submodule_search_locations):
            for path in root.rglob("*.py"):
                files[path.relative_to(root).as_posix()] = path
    digest = hashlib.sha256()
    for name in sorted(files):
        content = files[name].read_bytes() if files[name].is_file() else b""
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def hash_plugin_sources(flat: Mapping[str, Any]) -> dict[str, str]:
    """Hash the sources of all plug-ins that a configuration names.

    Args:
        flat: Dotted path -> value of a trial's configuration.

    Returns:
        Package -> hash, sorted by package.
    """
    found = set()
    for path, target in flat.items():
        steps = path.split(".")
        if steps[0] in _KINDS and steps[-1] == "target" and "options" not in steps:
            found.add(_get_package(resolve_target(_KINDS[steps[0]], target)))
    return {package: hash_source(package) for package in sorted(found)}


def collect_plugin_packages(flat: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Collect the plug-in packages that a worker must allow to train a configuration.

    Args:
        flat: Dotted path -> value of a trial's configuration.

    Returns:
        Package -> (folder, hash of its source).
    """
    hashes = hash_plugin_sources(flat).items()
    return {package: (str(find_package_folder(package)), digest) for package, digest in hashes}


def allow_received_plugins(packages: Mapping[str, tuple[str, str]]) -> None:
    """Allow the driver's plug-ins in a worker.

    Args:
        packages: Package -> (folder, hash of its source), from `collect_plugin_packages`.

    Raises:
        IbmlError: The package is missing on the worker, or its source differs from the driver's.
    """
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
