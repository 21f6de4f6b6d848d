"""Registries of built-in components: `type` in YAML -> `module:Class` of the configuration.

A configuration in turn names its implementation by text, in `ComponentConfig.implementation`.
Configurations import no torch, so `ibml.config` builds its unions without importing an
implementation.

To add a component, create its folder and add one line here. The order of a registry is the order
in error messages and JSON schemas.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Union

from ibml.common.imports import load_object

Registry = Mapping[str, str]
"""`type` of each component -> `module:Class` of its configuration."""

METHODS: Registry = {
    "joint": "ibml.methods.joint.config:JointConfig",
    "unimodal": "ibml.methods.unimodal.config:UnimodalConfig",
    "auxiliary": "ibml.methods.auxiliary.config:AuxiliaryConfig",
    "ibml": "ibml.methods.ibml.config:IBMLConfig",
    "ogm_ge": "ibml.methods.ogm_ge.config:OGMGEConfig",
    "agm": "ibml.methods.agm.config:AGMConfig",
    "pmr": "ibml.methods.pmr.config:PMRConfig",
    "mmpareto": "ibml.methods.mmpareto.config:MMParetoConfig",
    "mla": "ibml.methods.mla.config:MLAConfig",
    "mmcosine": "ibml.methods.mmcosine.config:MMCosineConfig",
    "g_blending": "ibml.methods.g_blending.config:GBlendingConfig",
    "recon_boost": "ibml.methods.recon_boost.config:ReconBoostConfig",
    "lfm": "ibml.methods.lfm.config:LFMConfig",
    "modality_valuation": "ibml.methods.modality_valuation.config:ModalityValuationConfig",
}

FUSIONS: Registry = {
    "concat": "ibml.models.fusions.concat.config:ConcatConfig",
    "sum": "ibml.models.fusions.sum.config:SumConfig",
    "film": "ibml.models.fusions.film.config:FiLMConfig",
    "gated": "ibml.models.fusions.gated.config:GatedConfig",
    "attention": "ibml.models.fusions.attention.config:AttentionConfig",
    "lmf": "ibml.models.fusions.lmf.config:LMFConfig",
    "late": "ibml.models.fusions.late.config:LateConfig",
}

ENCODERS: Registry = {
    "mlp": "ibml.models.encoders.mlp.config:MLPConfig",
    "resnet18": "ibml.models.encoders.resnet18.config:ResNet18Config",
    "small_cnn": "ibml.models.encoders.small_cnn.config:SmallCNNConfig",
    "text_gru": "ibml.models.encoders.text_gru.config:TextGRUConfig",
    "dgcnn": "ibml.models.encoders.dgcnn.config:DGCNNConfig",
    "pretrained": "ibml.models.encoders.pretrained.config:PretrainedConfig",
}

DATASETS: Registry = {
    "mfeat": "ibml.data.sets.mfeat.config:MfeatConfig",
    "cremad": "ibml.data.sets.cremad.config:CremadConfig",
    "ave": "ibml.data.sets.ave.config:AVEConfig",
    "avsbench": "ibml.data.sets.avsbench.config:AVSBenchConfig",
    "vggsound": "ibml.data.sets.vggsound.config:VGGSoundConfig",
    "kinetics_sounds": "ibml.data.sets.kinetics_sounds.config:KineticsSoundsConfig",
    "ucf101": "ibml.data.sets.ucf101.config:UCF101Config",
    "food101": "ibml.data.sets.food101.config:Food101Config",
    "mvsa": "ibml.data.sets.mvsa.config:MVSAConfig",
    "mnist3d": "ibml.data.sets.mnist3d.config:MNIST3DConfig",
    "modelnet40": "ibml.data.sets.modelnet40.config:ModelNet40Config",
    "folder": "ibml.data.sets.folder.config:FolderConfig",
}


def load_class(target: str) -> type[Any]:
    """Import and return the class at `module:Class`."""
    found: type[Any] = load_object(target)
    return found


def load_configurations(registry: Registry) -> dict[str, type[Any]]:
    """Import the configuration class of each component, in the order of the registry.

    Args:
        registry: The built-in components of one kind.

    Returns:
        `type` -> configuration class.

    Raises:
        TypeError: The default `type` of a class differs from its name in the registry.
    """
    classes = {name: load_class(target) for name, target in registry.items()}
    for name, found in classes.items():
        own = found.model_fields["type"].default
        if own != name:
            raise TypeError(
                f"{registry[name]} has type {own!r}, but the registry calls it {name!r}"
            )
    return classes


def load_union(registry: Registry, *more: type[Any]) -> Any:
    """Build the discriminated union of all configurations of a registry.

    Args:
        registry: The built-in components of one kind.
        *more: Members appended to the union, for example the configuration of plug-ins.

    Returns:
        The annotation for a pydantic field.
    """
    # The command line reads the registry and must start without pydantic.
    from pydantic import Field

    members = (*load_configurations(registry).values(), *more)
    # The members are known only at run time, so `|` cannot be used.
    return Annotated[Union[members], Field(discriminator="type")]  # noqa: UP007


def create_default(registry: Registry, name: str) -> Any:
    """Create the configuration of the component `name` with default values."""
    return load_class(registry[name])()
