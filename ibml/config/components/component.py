"""Base class of the configurations of components: built-in ones and plug-ins name their implementation by text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ibml.config.base import Config
from ibml.config.components.registry import load_class


class ComponentConfig(Config):
    """The configuration of a method, fusion, encoder or data set.

    Example:
        class PMRConfig(ComparingPart):
            implementation: ClassVar[str] = "ibml.methods.pmr.method:PMR"
            type: Literal["pmr"] = "pmr"
    """

    implementation: ClassVar[str]
    """`module:Class` of the implementation, which is imported when it is built."""

    if TYPE_CHECKING:

        @property
        def type(self) -> str:
            """The component's name in its registry. Each class has it as a field, a `Literal` with a default."""

    def load_implementation(self) -> Any:
        """Return the class that this configuration configures."""
        return load_class(self.implementation)

    @property
    def typed_options(self) -> Config:
        """The options that the implementation is constructed with."""
        return self
