"""Text: words, or a tokenizer's tokens, as numbers."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ibml.common.hashing import hash_content
from ibml.common.optional_deps import import_optional
from ibml.config.preprocessing import TextConfig
from ibml.data.decoders.base import Array, Decoder, Form
from ibml.data.listing import SamplePart

_WORD = re.compile(r"\w+(?:['’]\w+)*")


def words(text: str, length: int) -> list[str]:
    """The lower-cased words of a text, at most `length`; of an empty text one word that nothing knows."""
    return [
        found[0] for found, _ in zip(_WORD.finditer(text.lower()), range(length), strict=False)
    ] or [""]


class TextDecoder(Decoder):
    """Numbers of words in `vocabulary`, which grows while texts are read; of a tokenizer's tokens its own numbers."""

    wire_name = "Text"
    dtype = np.int32

    def __init__(self, config: TextConfig):
        self.config = config
        self.vocabulary: dict[str, int] = {}
        self._lock = threading.Lock()
        self._tokenizer: Any = None

    def get_settings(self, form: Form) -> dict[str, Any]:
        tokenizer = self.config.files.get("tokenizer")
        return {"length": self.config.length, "tokenizer": tokenizer and hash_content(tokenizer)}

    def read(self, part: SamplePart, root: Path, forms: Sequence[Form]) -> dict[Form, list[Array]]:
        text = (
            part.text
            if part.text is not None
            else (root / part.files[0]).read_text(encoding="utf-8-sig")
        )
        with self._lock:
            numbers = self._tokenize(text) if self.config.tokenizer else self._number_words(text)
        return {"plain": [np.array(numbers, np.int32)]}

    def _number_words(self, text: str) -> list[int]:
        return [
            self.vocabulary.setdefault(word, len(self.vocabulary))
            for word in words(text, self.config.length)
        ]

    def _tokenize(self, text: str) -> list[int]:
        if self._tokenizer is None:
            transformers = import_optional("transformers", "transformers")
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(
                self.config.tokenizer, local_files_only=True
            )
        found: list[int] = self._tokenizer(text, truncation=True, max_length=self.config.length)[
            "input_ids"
        ]
        return found or [self._tokenizer.unk_token_id or 0]
