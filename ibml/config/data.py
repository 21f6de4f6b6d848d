"""Union of all data set configurations: built-in data sets and plug-ins."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self, get_args

from pydantic import model_validator

from ibml.common.errors import format_suggestion
from ibml.config.components.registry import DATASETS, load_configurations, load_union
from ibml.config.datasets import BaseDataConfig, FilesConfig, ModalitySubsetConfig
from ibml.config.plugins.failures import format_error
from ibml.config.plugins.plugin_config import ComponentKind, PluginConfig, resolve_target
from ibml.config.preprocessing import ModalityKind


class DataPluginConfig(ModalitySubsetConfig, PluginConfig):
    """A data set of another package."""

    kind: ClassVar[ComponentKind] = "dataset"

    @cached_property
    def all_kinds(self) -> dict[str, ModalityKind]:
        """Kind of each modality, as the plug-in reports it.

        Cached, because every evaluation constructs the plug-in's data set.
        """
        try:
            return dict(self.load_implementation()(self.typed_options).kinds)
        except Exception as error:  # noqa: BLE001
            raise ValueError(f"{self.target}.kinds fails: {format_error(error)}") from None

    @model_validator(mode="after")
    def _check_kinds(self) -> Self:
        known = get_args(ModalityKind)
        for name, kind in self.all_kinds.items():
            if kind not in known:
                hint = format_suggestion(str(kind), known)
                raise ValueError(f"{self.target} has {name!r} of kind {kind!r}{hint}")
        return self

    def build_canonical_form(self, modalities: tuple[str, ...]) -> dict[str, Any]:
        """Return the canonical form with the entry point resolved to `module:Class`."""
        target = resolve_target(self.kind, self.target)
        return {**self.model_dump(mode="json"), "target": target, "use": list(modalities)}


DATASET_CONFIGS: dict[str, type[BaseDataConfig]] = load_configurations(DATASETS)
"""Built-in data sets: `type` -> configuration."""
PREPARATIONS: dict[str, str] = {
    name: kind.preparation
    for name, kind in DATASET_CONFIGS.items()
    if issubclass(kind, FilesConfig) and kind.preparation is not None
}
"""Data sets that `ibml data prepare` supports: `type` -> `module:function`."""

if TYPE_CHECKING:
    DataConfig = BaseDataConfig
else:
    DataConfig = load_union(DATASETS, DataPluginConfig)
