"""Base class of component configurations, which name their implementation by text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ibml.config.base import Config
from ibml.config.components.registry import load_class


class ComponentConfig(Config):
    """Configuration of a method, fusion, encoder or data set.

    Example:
        class PMRConfig(ComparingMethodConfig):
            implementation: ClassVar[str] = "ibml.methods.pmr.method:PMR"
            type: Literal["pmr"] = "pmr"
    """

    implementation: ClassVar[str]
    """`module:Class` of the implementation, imported when the component is built."""

    if TYPE_CHECKING:

        @property
        def type(self) -> str:
            """Name in the registry; every subclass declares it as a `Literal` with a default."""

    def load_implementation(self) -> Any:
        """Import and return the class that this configuration is for."""
        return load_class(self.implementation)

    @property
    def typed_options(self) -> Config:
        """Options passed to the implementation's constructor."""
        return self
