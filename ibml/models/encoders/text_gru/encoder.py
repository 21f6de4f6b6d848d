"""Word vectors and a bidirectional GRU (Cho et al. 2014)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ibml.inputs import InputSpec, Sequences
from ibml.models.encoders.text_gru.config import TextGRUConfig


class TextGRU(nn.Module):
    """Bidirectional GRU: token ids, (n, L), or their vectors, (n, L, d) -> (n, features).

    The features are the maximum over valid steps of the mean of both directions. A linear layer
    follows if `hidden` is not `features`. Word vectors of the data are constant. Otherwise vectors
    are learned and start from N(0, 1), the default of torch; that of the unknown word stays zero.

    Args:
        options: Configuration of the encoder.
        spec: Samples of the modality.

    Raises:
        ValueError: The encoder does not accept such samples.

    Attributes:
        vectors: Buffer of the word vectors of the data; None if they are learned.
    """

    vectors: Tensor | None

    def __init__(self, options: TextGRUConfig, spec: InputSpec):
        super().__init__()
        self.register_buffer("vectors", spec.vectors)
        if spec.vectors is None:
            if not spec.vocabulary:
                raise ValueError(
                    "encoder 'text_gru' needs words, but the text has the tokens of a tokenizer"
                )
            self.embedding = nn.Embedding(
                len(spec.vocabulary) + 1, options.embedding, padding_idx=0
            )
        elif spec.vectors.shape[1] != options.embedding:
            width = spec.vectors.shape[1]
            raise ValueError(
                f"embedding of encoder 'text_gru' is {options.embedding}, but the word vectors "
                f"have {width}; set embedding to {width}"
            )
        self.gru = nn.GRU(options.embedding, options.hidden, batch_first=True, bidirectional=True)
        self.projection: nn.Module = nn.Identity()
        if options.hidden != options.features:
            self.projection = nn.Linear(options.hidden, options.features)

    def embed(self, tokens: Sequences) -> Sequences:
        """Return the vectors, (n, L, d), of token ids, (n, L)."""
        if self.vectors is None:
            return tokens.map(self.embedding)
        table = self.vectors
        return tokens.map(lambda ids: F.embedding(ids, table))

    def forward(self, inputs: Sequences) -> Tensor:
        """Return the features, (n, features)."""
        words = self.embed(inputs) if inputs.are_ids else inputs
        # Packed, so that the backward direction starts at the end of each text. Sorted here, since
        # torch would wait for the device to sort.
        lengths, order = words.lengths.sort(descending=True, stable=True)
        device = words.values.device
        packed = pack_padded_sequence(
            words.values[order.to(device, non_blocking=True)], lengths, batch_first=True
        )
        states, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True)
        forwards, backwards = states.chunk(2, dim=2)
        steps = Sequences((forwards + backwards) / 2, lengths)
        most = steps.values.masked_fill(~steps.valid()[..., None], -float("inf")).amax(1)
        features: Tensor = self.projection(most[order.argsort().to(device, non_blocking=True)])
        return features
