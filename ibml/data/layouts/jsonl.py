"""Layout of images with a text (UPMC Food-101, MVSA-Single): `train.jsonl`, `dev.jsonl` and `test.jsonl`,
{id, label, text, img}, `img` relative to the root."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ibml.common.errors import format_suggestion
from ibml.config.datasets import CaptionedConfig
from ibml.data.listing import Sample, SampleListing, SamplePart, SplitName

FILES: dict[SplitName, str] = {"train": "train.jsonl", "val": "dev.jsonl", "test": "test.jsonl"}
_KEYS: dict[str, tuple[type, ...]] = {
    "id": (str, int),
    "label": (str, int),
    "text": (str,),
    "img": (str,),
}


def list_samples(config: CaptionedConfig, listing: SampleListing) -> None:
    for split, file in FILES.items():
        for where, found in listing.read_json_lines(file, split):
            if problem := _find_problem(found):
                listing.add_issue(split, where, problem)
            elif (image := listing.resolve_path(found["img"].strip(), where)) is not None:
                parts = {"image": SamplePart((image,)), "text": SamplePart(text=found["text"])}
                listing.add(
                    split,
                    Sample(where, str(found["id"]).strip(), str(found["label"]).strip(), parts),
                )


def _find_problem(found: Mapping[str, Any]) -> str | None:
    for key, types in _KEYS.items():
        if key not in found:
            return f"has no {key!r}{format_suggestion(key, found)}"
        value = found[key]
        if isinstance(value, bool) or not isinstance(value, types):
            return f"{key!r} is no text{' and no number' if int in types else ''}"
        if key != "text" and not str(value).strip():
            return f"{key!r} is empty"
    return None
