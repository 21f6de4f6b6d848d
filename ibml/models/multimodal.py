"""The multimodal model: an encoder per modality and a fusion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ibml.common.rng import stream_seed
from ibml.config.trial import TrialConfig
from ibml.inputs import Input, InputSpec, Sequences
from ibml.models.encoders import build_encoder
from ibml.models.fusion import build_fusion


class MultimodalModel(nn.Module):
    """Encoders and fusion of a trial, initialised from its seed.

    Each part has its own random stream, so the encoder of a modality starts with the same weights in every
    fusion and beside every other modality.
    """

    def __init__(self, config: TrialConfig, specs: Mapping[str, InputSpec], classes: int):
        super().__init__()
        self.modalities = config.modalities
        self.classes = classes
        self.labels: tuple[str, ...] = ()
        """The classes by their ids, where they are known."""
        encoders = {}
        for name in self.modalities:
            with use_init_stream(config.seed, "encoder", name):
                encoders[name] = build_encoder(config.get_encoder(name), specs[name])
                initialize_weights(encoders[name])
                if (own := getattr(encoders[name], "after_initialisation", None)) is not None:
                    own()
        self.encoders = nn.ModuleDict(encoders)
        widths = [config.get_encoder(name).features for name in self.modalities]
        with use_init_stream(config.seed, "fusion"):
            self.fusion = build_fusion(config.head, self.modalities, widths, classes)
            initialize_weights(self.fusion)
            self.fusion.after_initialisation()

    def embed_inputs(self, inputs: Mapping[str, Input]) -> dict[str, Input]:
        """The inputs with vectors in place of token ids, where an encoder has them: it takes either."""
        return {name: self._embed_modality(name, inputs[name]) for name in self.modalities}

    def _embed_modality(self, name: str, values: Input) -> Input:
        if not (isinstance(values, Sequences) and values.are_ids):
            return values
        embed = getattr(self.encoders[name], "embed", None)
        return values if embed is None else embed(values)

    def features(self, inputs: Mapping[str, Input]) -> list[Tensor]:
        """z_1 .. z_M, each of shape (n, d_m)."""
        return [self.encoders[name](inputs[name]) for name in self.modalities]

    def forward(self, inputs: Mapping[str, Input]) -> tuple[Tensor, Tensor]:
        """Joint logits (n, C) and unimodal logits (M, n, C)."""
        return self.fusion.both(self.features(inputs))


def initialize_weights(module: nn.Module) -> None:
    """Xavier normal for linear layers with bias 0, Kaiming normal (fan out) for convolutions, 1 and 0 for
    batch normalisation: the initialisation of the paper's runs. Other layers start as torch has them; what is in a
    module whose `keeps_weights` is true stays as it is."""
    kept = {
        part
        for whole in module.modules()
        if getattr(whole, "keeps_weights", False)
        for part in whole.modules()
    }
    for layer in module.modules():
        if layer in kept:
            continue
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight)
        elif isinstance(layer, nn.Conv1d | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


@contextmanager
def use_init_stream(seed: int, *where: str) -> Iterator[None]:
    """Constructors of layers draw from torch's global generator; give it a state of our own meanwhile."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, "init", *where))
        yield
