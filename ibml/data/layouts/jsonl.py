"""Layout of images with a text: UPMC Food-101 and MVSA-Single.

`train.jsonl`, `dev.jsonl` and `test.jsonl` have an object {id, label, text, img} per line. `img` is
a path relative to the root.
"""

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
    """Add every object of the three files to the listing."""
    for split, file in FILES.items():
        for where, found in listing.read_json_lines(file, split):
            if problem := _find_problem(found):
                listing.add_issue(split, where, problem)
                continue
            image = listing.resolve_path(found["img"].strip(), where)
            if image is None:
                continue
            parts = {"image": SamplePart((image,)), "text": SamplePart(text=found["text"])}
            name = str(found["id"]).strip()
            label = str(found["label"]).strip()
            listing.add(split, Sample(where, name, label, parts))


def _find_problem(found: Mapping[str, Any]) -> str | None:
    for key, types in _KEYS.items():
        if key not in found:
            return f"has no {key!r}{format_suggestion(key, found)}"
        value = found[key]
        if isinstance(value, bool) or not isinstance(value, types):
            return f"{key!r} is not a text{' or a number' if int in types else ''}"
        if key != "text" and not str(value).strip():
            return f"{key!r} is empty"
    return None
