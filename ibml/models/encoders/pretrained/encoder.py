"""Models of the transformers library, from a folder on disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn

from ibml.common.errors import IbmlError
from ibml.common.optional_deps import import_optional
from ibml.inputs import Input, InputSpec, Sequences
from ibml.models.encoders.layers import average_over_frames
from ibml.models.encoders.pretrained.config import PretrainedConfig

_DIMENSIONS = {"pixel_values": (3, 4), "input_values": (3,), "input_ids": (1,)}
"""What a model calls its input -> the dimensions that one sample can have."""


class Pretrained(nn.Module):
    """Images, frames (the mean of theirs), spectrograms (n, 1, F, T) or texts in tokens of its own -> (n, features).

    Features are the mean of the last hidden state over all tokens or patches, special ones included and padding left
    out, and a linear layer where they are not as wide as asked for. A frozen model never changes and has no dropout.
    """

    def __init__(self, options: PretrainedConfig, spec: InputSpec):
        super().__init__()
        self.body = _load_model(options.path)
        self.body.keeps_weights = True
        self.frozen = options.frozen
        if spec.vocabulary:
            raise ValueError(
                "encoder 'pretrained' reads the tokens of its own tokenizer, but the text is words"
            )
        width = self._infer_width(options.path, spec.shape)
        self.projection = (
            nn.Identity() if width == options.features else nn.Linear(width, options.features)
        )
        if self.frozen:
            self.body.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.frozen:
            self.body.eval()
        return self

    def embed(self, tokens: Sequences) -> Sequences:
        """The vectors of token ids."""
        return tokens.map(self.body.get_input_embeddings())

    def forward(self, inputs: Input) -> Tensor:
        features: Tensor = self.projection(self._encode(inputs))
        return features

    def _encode(self, inputs: Input) -> Tensor:
        if isinstance(inputs, Sequences):
            return self._encode_text(self.embed(inputs) if inputs.are_ids else inputs)
        if self.body.main_input_name == "input_values":
            return _average_tokens(self.body(inputs.squeeze(1).transpose(1, 2)).last_hidden_state)
        return average_over_frames(
            lambda images: _average_tokens(self.body(images).last_hidden_state), inputs
        )

    def _encode_text(self, words: Sequences) -> Tensor:
        valid = words.valid()
        states = self.body(
            inputs_embeds=words.values, attention_mask=valid.long()
        ).last_hidden_state
        total: Tensor = states.masked_fill(~valid[..., None], 0).sum(1)
        return total / valid.sum(1, keepdim=True)

    def _infer_width(self, path: str, shape: tuple[int, ...]) -> int:
        """Of the hidden state. Each model has its own rules for what it takes, so one sample is tried."""
        name = self.body.main_input_name
        if len(shape) not in _DIMENSIONS.get(name, ()) or (
            name == "input_values" and shape[0] != 1
        ):
            raise ValueError(
                f"the model in {path} takes {name}, which a sample of shape {shape} is not"
            )
        text = len(shape) == 1
        sample = torch.zeros(1, *shape, dtype=torch.long if text else torch.float32)
        try:
            with torch.no_grad():
                return self._encode(
                    Sequences(sample, torch.tensor(shape)) if text else sample
                ).shape[1]
        except Exception as error:
            raise ValueError(
                f"the model in {path} takes no samples of shape {shape}: {_format_error(error)}"
            ) from error


def _average_tokens(states: Tensor) -> Tensor:
    """Over tokens of (n, L, d), or over positions of (n, d, H, W), which convolutional models give."""
    return states.mean(1) if states.dim() == 3 else states.flatten(2).mean(2)


def _load_model(path: str) -> Any:
    """The model in a folder, ready to evaluate; raises `IbmlError` where it cannot be had as a whole."""
    transformers = import_optional("transformers", "transformers")
    try:
        with _silence_transformers():
            model, report = transformers.AutoModel.from_pretrained(
                path,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                attn_implementation="eager",  # the faster ones do not repeat their gradients bit for bit on a GPU
                output_loading_info=True,
            )
    except Exception as error:
        raise IbmlError(f"the model in {path} cannot be loaded: {_format_error(error)}") from error
    # the pooler is not used, and models that were trained on masked words have none
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise IbmlError(
            f"the model in {path} lacks weights: {', '.join(missing[:3])}, {len(missing)} in all"
        )
    return model


def _format_error(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


@contextmanager
def _silence_transformers() -> Iterator[None]:
    """Without the library's progress bars and its report of the weights, which is looked at here."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
