"""Decoder of text: words, or the tokens of a tokenizer, become numbers."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ibml.common.hashing import hash_content
from ibml.common.optional_deps import import_optional
from ibml.config.preprocessing import TextConfig
from ibml.data.decoders.base import Array, Decoder, Form
from ibml.data.listing import SamplePart

_WORD = re.compile(r"\w+(?:['’]\w+)*")


def split_words(text: str, length: int) -> list[str]:
    """Split a text into lower-case words.

    Args:
        text: The text.
        length: Largest number of words.

    Returns:
        The first words; for a text without words one empty word, which no vocabulary has.
    """
    words = [match[0] for match in islice(_WORD.finditer(text.lower()), length)]
    return words or [""]


class TextDecoder(Decoder):
    """Numbers of words or tokens, int32.

    Words are numbered in `vocabulary`, which grows while texts are decoded. A tokenizer has its own
    numbers.

    Args:
        config: Preprocessing of the text.
    """

    wire_name = "Text"
    dtype = np.int32

    def __init__(self, config: TextConfig):
        self.config = config
        self.vocabulary: dict[str, int] = {}
        self._lock = threading.Lock()
        self._tokenizer: Any = None

    def get_settings(self, form: Form) -> dict[str, Any]:
        """Return the length, and the hash of the tokenizer if there is one."""
        tokenizer = self.config.files.get("tokenizer")
        return {"length": self.config.length, "tokenizer": tokenizer and hash_content(tokenizer)}

    def decode(
        self, part: SamplePart, root: Path, forms: Sequence[Form]
    ) -> dict[Form, list[Array]]:
        """Decode one text, see `Decoder.decode`."""
        text = part.text
        if text is None:
            text = (root / part.files[0]).read_text(encoding="utf-8-sig")
        with self._lock:
            numbers = self._tokenize(text) if self.config.tokenizer else self._number_words(text)
        return {"plain": [np.array(numbers, np.int32)]}

    def _number_words(self, text: str) -> list[int]:
        numbers = []
        for word in split_words(text, self.config.length):
            numbers.append(self.vocabulary.setdefault(word, len(self.vocabulary)))
        return numbers

    def _tokenize(self, text: str) -> list[int]:
        if self._tokenizer is None:
            transformers = import_optional("transformers", "transformers")
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(
                self.config.tokenizer, local_files_only=True
            )
        encoded = self._tokenizer(text, truncation=True, max_length=self.config.length)
        tokens: list[int] = encoded["input_ids"]
        return tokens or [self._tokenizer.unk_token_id or 0]
