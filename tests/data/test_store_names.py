"""Names of stores of decoded media, which must not change: they are keys of users' caches."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibml.config.preprocessing import (
    AudioConfig,
    FramesConfig,
    ImageConfig,
    PointsConfig,
    Preprocessing,
    RawImageConfig,
    TextConfig,
    VectorConfig,
    ViewsConfig,
)
from ibml.data.decoders import Decoder, build_decoder
from ibml.data.listing import SamplePart
from ibml.data.stores.cache import DecodeRequest, _build_store_name

STORED: dict[type[Preprocessing], tuple[str, dict[str, str]]] = {
    AudioConfig: (
        "Audio",
        {"plain": "set-train-part-plain-5460107a73715778a258"},
    ),
    FramesConfig: (
        "Frames",
        {
            "plain": "set-train-part-plain-fbdcced5aacd70c33cd7",
            "varied": "set-train-part-varied-204017754fb71eadcbc2",
        },
    ),
    ImageConfig: (
        "Image",
        {
            "plain": "set-train-part-plain-14bb4880fb801aa6c059",
            "varied": "set-train-part-varied-713c78bd93072db426f9",
        },
    ),
    PointsConfig: (
        "Points",
        {"plain": "set-train-part-plain-1038c96b8b4929496db6"},
    ),
    RawImageConfig: (
        "RawImage",
        {"plain": "set-train-part-plain-78b919eecaaa2d701c5c"},
    ),
    TextConfig: (
        "Text",
        {"plain": "set-train-part-plain-08d253796d507f07447f"},
    ),
    VectorConfig: (
        "Vector",
        {"plain": "set-train-part-plain-d514b99934ecd73e252c"},
    ),
    ViewsConfig: (
        "Views",
        {
            "plain": "set-train-part-plain-c7acf15f7f37e272bbe9",
            "varied": "set-train-part-varied-c8fecbbda2b53452e3d6",
        },
    ),
}
"""Preprocessing with its defaults -> wire name of its decoder, names of its stores by form."""


def concrete(base: type[Decoder]) -> set[type[Decoder]]:
    below = {found for child in base.__subclasses__() for found in concrete(child)}
    return below | ({base} if not getattr(base, "__abstractmethods__", None) else set())


@pytest.mark.parametrize("config", STORED, ids=lambda config: config.__name__)
def test_a_store_keeps_its_name(config: type[Preprocessing]) -> None:
    media = build_decoder(config())
    wire_name, names = STORED[config]
    request = DecodeRequest(
        "set-train-part", Path(), [SamplePart()], ["0" * 64], media, media.get_forms()
    )
    assert media.wire_name == wire_name
    assert {form: _build_store_name(request, form) for form in media.get_forms()} == names


def test_every_kind_of_media_has_a_stored_name() -> None:
    wire_names = [wire_name for wire_name, _ in STORED.values()]
    assert len(set(wire_names)) == len(wire_names)
    named = {media.wire_name for media in concrete(Decoder) if "wire_name" in vars(media)}
    assert named == set(wire_names)
