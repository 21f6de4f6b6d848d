"""Layout of images with a text (UPMC Food-101, MVSA-Single): `train.jsonl`, `dev.jsonl` and `test.jsonl`,
{id, label, text, img}, `img` relative to the root."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ibml.common.errors import did_you_mean
from ibml.config.datasets import CaptionedConfig
from ibml.data.listing import Listing, Part, Row, SplitName

FILES: dict[SplitName, str] = {"train": "train.jsonl", "val": "dev.jsonl", "test": "test.jsonl"}
_KEYS: dict[str, tuple[type, ...]] = {"id": (str, int), "label": (str, int), "text": (str,), "img": (str,)}


def list_samples(config: CaptionedConfig, listing: Listing) -> None:
    for split, file in FILES.items():
        for where, found in listing.objects(file, split):
            if problem := _problem(found):
                listing.skip(split, where, problem)
            elif (image := listing.file(found["img"].strip(), where)) is not None:
                parts = {"image": Part((image,)), "text": Part(text=found["text"])}
                listing.add(split, Row(where, str(found["id"]).strip(), str(found["label"]).strip(), parts))


def _problem(found: Mapping[str, Any]) -> str | None:
    for key, types in _KEYS.items():
        if key not in found:
            return f"has no {key!r}{did_you_mean(key, found)}"
        value = found[key]
        if isinstance(value, bool) or not isinstance(value, types):
            return f"{key!r} is no text{' and no number' if int in types else ''}"
        if key != "text" and not str(value).strip():
            return f"{key!r} is empty"
    return None
