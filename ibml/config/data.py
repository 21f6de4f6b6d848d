"""Every data set that a trial may have: the built-in ones and those of other packages."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self, get_args

from pydantic import model_validator

from ibml.common.errors import format_suggestion
from ibml.config.datasets import ChosenModalities, DataPart, FilesConfig
from ibml.config.failures import in_a_line
from ibml.config.plugins import Kind, PluginConfig, resolved
from ibml.config.preprocessing import ModalityKind
from ibml.config.registry import DATASETS, load_configurations, load_union


class DataPluginConfig(ChosenModalities, PluginConfig):
    """A data set of another package."""

    kind: ClassVar[Kind] = "dataset"

    @cached_property
    def all_kinds(
        self,
    ) -> dict[str, ModalityKind]:  # kept, since each look makes the plug-in's object anew
        try:
            return dict(self.load_implementation()(self.typed_options).kinds)
        except Exception as error:
            raise ValueError(f"{self.target}.kinds fails: {in_a_line(error)}") from None

    @model_validator(mode="after")
    def _kinds_are_known(self) -> Self:
        known = get_args(ModalityKind)
        for name, kind in self.all_kinds.items():
            if kind not in known:
                raise ValueError(
                    f"{self.target} has {name!r} of kind {kind!r}{format_suggestion(str(kind), known)}"
                )
        return self

    def canonical(self, modalities: tuple[str, ...]) -> dict[str, Any]:
        target = resolved(self.kind, self.target)
        return {**self.model_dump(mode="json"), "target": target, "use": list(modalities)}


DATASET_CONFIGS: dict[str, type[DataPart]] = load_configurations(DATASETS)
"""Built-in data sets: `type` -> configuration."""
PREPARATIONS: dict[str, str] = {
    name: kind.preparation
    for name, kind in DATASET_CONFIGS.items()
    if issubclass(kind, FilesConfig) and kind.preparation is not None
}
"""Data sets that `ibml data prepare` can make of their distribution: `type` -> `module:function`."""

if TYPE_CHECKING:
    DataConfig = DataPart
else:
    DataConfig = load_union(DATASETS, DataPluginConfig)
