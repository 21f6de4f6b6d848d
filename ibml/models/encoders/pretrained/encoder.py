"""Pretrained models of the transformers library, from a folder on disk."""

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
"""Main input name of a model -> numbers of dimensions that a sample may have."""


class Pretrained(nn.Module):
    """Pretrained transformer: images, frames, spectrograms (n, 1, F, T) or texts -> (n, features).

    Texts are token ids of the model's tokenizer. Features are the mean of the last hidden state
    over all tokens or patches, with special tokens and without padding; those of frames are
    averaged. A linear layer follows if the hidden state has another width than `features`. A frozen
    model has constant weights and no dropout.

    Args:
        options: Configuration of the encoder.
        spec: Samples of the modality.

    Raises:
        ValueError: The encoder does not accept such samples.
        IbmlError: The folder has no complete model.
    """

    def __init__(self, options: PretrainedConfig, spec: InputSpec):
        super().__init__()
        self.body = _load_model(options.path)
        self.body.keeps_weights = True
        self.frozen = options.frozen
        if spec.vocabulary:
            raise ValueError(
                "encoder 'pretrained' needs the tokens of its model's tokenizer, but the text "
                "consists of words; set the text's tokenizer to the model's folder"
            )
        width = self._infer_width(options.path, spec.shape)
        self.projection: nn.Module = nn.Identity()
        if width != options.features:
            self.projection = nn.Linear(width, options.features)
        if self.frozen:
            self.body.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Set the training mode; a frozen model stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.body.eval()
        return self

    def embed(self, tokens: Sequences) -> Sequences:
        """Return the vectors, (n, L, d), of token ids, (n, L)."""
        return tokens.map(self.body.get_input_embeddings())

    def forward(self, inputs: Input) -> Tensor:
        """Return the features, (n, features)."""
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
        outputs = self.body(inputs_embeds=words.values, attention_mask=valid.long())
        states = outputs.last_hidden_state
        total: Tensor = states.masked_fill(~valid[..., None], 0).sum(1)
        return total / valid.sum(1, keepdim=True)

    def _infer_width(self, path: str, shape: tuple[int, ...]) -> int:
        """Return the width of the hidden state from a forward pass of one sample.

        The pass also checks the sample: each model has other conditions on its inputs.
        """
        name = self.body.main_input_name
        fits = len(shape) in _DIMENSIONS.get(name, ())
        if name == "input_values":
            fits = fits and shape[0] == 1
        if not fits:
            raise ValueError(
                f"the model in {path} takes {name}, which a sample of shape {shape} is not"
            )
        sample: Input
        if len(shape) == 1:
            sample = Sequences(torch.zeros(1, *shape, dtype=torch.long), torch.tensor(shape))
        else:
            sample = torch.zeros(1, *shape, dtype=torch.float32)
        try:
            with torch.no_grad():
                return self._encode(sample).shape[1]
        except Exception as error:
            raise ValueError(
                f"the model in {path} takes no samples of shape {shape}: {_format_error(error)}"
            ) from error


def _average_tokens(states: Tensor) -> Tensor:
    """Return the mean over tokens, (n, L, d), or positions of a convolution, (n, d, H, W)."""
    return states.mean(1) if states.dim() == 3 else states.flatten(2).mean(2)


def _load_model(path: str) -> Any:
    """Load the model in a folder, in evaluation mode; raise `IbmlError` if it is not complete."""
    transformers = import_optional("transformers", "transformers")
    try:
        with _silence_transformers():
            model, report = transformers.AutoModel.from_pretrained(
                path,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                # gradients of the faster implementations are not reproducible on a GPU
                attn_implementation="eager",
                output_loading_info=True,
            )
    except Exception as error:
        raise IbmlError(f"the model in {path} cannot be loaded: {_format_error(error)}") from error
    # the pooler is not used, and models trained on masked words have none
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
    """Hide the library's progress bars and its report of missing weights, which we check."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
