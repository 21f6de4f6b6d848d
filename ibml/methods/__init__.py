"""Training methods, one file a method."""

from __future__ import annotations

from ibml.config.trial import TrialConfig
from ibml.methods.agm import AGM
from ibml.methods.auxiliary import Auxiliary
from ibml.methods.base import Batch, Method, Observed, StepLog, Training
from ibml.methods.g_blending import GBlending
from ibml.methods.ibml import IBML
from ibml.methods.joint import Joint
from ibml.methods.lfm import LFM
from ibml.methods.mla import MLA
from ibml.methods.mmcosine import MMCosine
from ibml.methods.mmpareto import MMPareto
from ibml.methods.modality_valuation import ModalityValuation
from ibml.methods.ogm_ge import OGMGE
from ibml.methods.pmr import PMR
from ibml.methods.recon_boost import ReconBoost
from ibml.methods.unimodal import Unimodal
from ibml.models.multimodal import MultimodalModel
from ibml.training.precision import Precision

__all__ = ["Batch", "Method", "Observed", "Precision", "StepLog", "Training", "build_method"]

METHODS: dict[str, type[Method]] = {
    "joint": Joint,
    "unimodal": Unimodal,
    "auxiliary": Auxiliary,
    "ibml": IBML,
    "ogm_ge": OGMGE,
    "agm": AGM,
    "pmr": PMR,
    "mmpareto": MMPareto,
    "mla": MLA,
    "mmcosine": MMCosine,
    "g_blending": GBlending,
    "recon_boost": ReconBoost,
    "lfm": LFM,
    "modality_valuation": ModalityValuation,
}


def build_method(config: TrialConfig, model: MultimodalModel, samples: int, precision: Precision) -> Method:
    """The method of a trial."""
    options = config.effective_method
    if options.type == "plugin":
        made: Method = options.implementation(config, options.typed_options, model, samples, precision)
        return made
    kind = options.canonical(config)["type"]  # one whose parts are off is joint
    return METHODS[kind](config, options, model, samples, precision)
