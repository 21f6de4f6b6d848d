"""Multimodal model: an encoder per modality and a fusion."""

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
    """Encoders and fusion of a trial, initialized from its seed.

    Each part has a separate random stream. The encoder of a modality therefore starts with the same
    weights in every fusion and in every combination of modalities.

    Args:
        config: Configuration of the trial.
        specs: Samples of each modality.
        classes: Number of classes, C.

    Attributes:
        modalities: Names of the M modalities.
        labels: Names of the classes by id; empty if unknown.
        encoders: Encoder of each modality.
        fusion: Fusion, or the head of a method that replaces it.
    """

    def __init__(self, config: TrialConfig, specs: Mapping[str, InputSpec], classes: int):
        super().__init__()
        self.modalities = config.modalities
        self.classes = classes
        self.labels: tuple[str, ...] = ()
        encoders = {}
        for name in self.modalities:
            with use_init_stream(config.seed, "encoder", name):
                encoders[name] = build_encoder(config.get_encoder(name), specs[name])
                initialize_weights(encoders[name])
                hook = getattr(encoders[name], "after_initialisation", None)
                if hook is not None:
                    hook()
        self.encoders = nn.ModuleDict(encoders)
        widths = [config.get_encoder(name).features for name in self.modalities]
        with use_init_stream(config.seed, "fusion"):
            self.fusion = build_fusion(config.head, self.modalities, widths, classes)
            initialize_weights(self.fusion)
            self.fusion.after_initialisation()

    def embed_inputs(self, inputs: Mapping[str, Input]) -> dict[str, Input]:
        """Replace token ids with word vectors if the encoder has an `embed` method.

        Such an encoder accepts ids and vectors. Vectors can be perturbed, ids cannot.

        Args:
            inputs: Inputs by modality, (n, ...) each.

        Returns:
            New inputs; all other modalities are unchanged.
        """
        return {name: self._embed_modality(name, inputs[name]) for name in self.modalities}

    def _embed_modality(self, name: str, values: Input) -> Input:
        if not (isinstance(values, Sequences) and values.are_ids):
            return values
        embed = getattr(self.encoders[name], "embed", None)
        return values if embed is None else embed(values)

    def features(self, inputs: Mapping[str, Input]) -> list[Tensor]:
        """Return the features z_1 .. z_M, (n, d_m) each."""
        return [self.encoders[name](inputs[name]) for name in self.modalities]

    def forward(self, inputs: Mapping[str, Input]) -> tuple[Tensor, Tensor]:
        """Return joint logits, (n, C), and unimodal logits, (M, n, C)."""
        return self.fusion.both(self.features(inputs))


def initialize_weights(module: nn.Module) -> None:
    """Initialize the layers of a module as in the paper's runs.

    Linear layers get Xavier normal weights, convolutions Kaiming normal ones (fan out), batch
    normalization weights of 1; biases are 0. Other layers keep the initialization of torch. Modules
    with a true attribute `keeps_weights` are skipped with everything in them.

    Args:
        module: Module to change in place.
    """
    kept: set[nn.Module] = set()
    for part in module.modules():
        if getattr(part, "keeps_weights", False):
            kept.update(part.modules())
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
    """Seed torch's global generator from the stream `init`; restore its state on exit.

    Constructors of layers draw from the global generator.

    Args:
        seed: Seed of the trial.
        *where: Part of the stream, for example `encoder` and the name of a modality.

    Yields:
        Nothing.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, "init", *where))
        yield
