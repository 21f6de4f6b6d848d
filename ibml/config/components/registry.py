"""Registries of built-in components: the `type` in YAML -> `module:Class` of the configuration, as text.

A configuration names its implementation by text too (`ibml.config.components.component.Component.implementation`). Configurations
import no torch, so `ibml.config` builds its unions from the registries without importing an implementation.

Adding a component takes its folder and one line here. Order is part of the behaviour: error messages and JSON schemas
list components in the order of the registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Union

from ibml.common.imports import load_object

Registry = Mapping[str, str]
"""The `type` of each component -> `module:Class` of its configuration."""

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
    """Import a class.

    Args:
        target: `module:Class`.
    """
    found: type[Any] = load_object(target)
    return found


def load_configurations(registry: Registry) -> dict[str, type[Any]]:
    """Return the configuration class of each component, in the order of the registry.

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
    """Return the discriminated union of all configurations of a registry, as an annotation for a pydantic field.

    Args:
        registry: The built-in components.
        more: Further members, after those of the registry: the configuration of plug-ins.
    """
    from pydantic import Field  # the command line reads the registry, and starts without pydantic

    members = (*load_configurations(registry).values(), *more)
    return Annotated[Union[members], Field(discriminator="type")]  # noqa: UP007 the members are known at run time


def create_default(registry: Registry, name: str) -> Any:
    """Return a new configuration of a component with default values."""
    return load_class(registry[name])()
