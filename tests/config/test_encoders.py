"""Encoders in configurations: supported inputs, referenced files, and locations of errors."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from ibml.common.errors import ConfigError, IbmlError
from ibml.common.hashing import hash_content
from ibml.config.loading.json_schema import build_schema
from ibml.config.trial import TrialConfig, build_canonical_form
from ibml.study.planning.keys import compute_trial_key
from ibml.study.planning.plan import load_plan

Build = Callable[..., TrialConfig]
STUDY = """\
name: study
description: A question.
base: mfeat
overrides:
  encoders.pix: {type: resnet18}
design:
  type: arms
  reference: Joint
  arms:
    Joint: {}
    Other: {encoders.default.features: 3}
seeds: 3
"""


@pytest.fixture
def media(kinds: Callable[..., None], trial: Build) -> Build:
    """A trial with an image called pix and a text called zer."""
    kinds(pix="image", zer="text")

    def build(pix: dict, zer: dict | None = None) -> TrialConfig:
        return trial(encoders={"pix": pix, "zer": zer or {"type": "text_gru"}})

    return build


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Create a folder that looks like a pretrained model."""
    made = tmp_path / "model"
    made.mkdir()
    (made / "config.json").write_text("{}")
    (made / "model.safetensors").write_bytes(b"weights")
    return made


def errors(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_plan(path)
    return [str(problem).removeprefix(f"{tmp_path}/") for problem in caught.value.problems]


def test_an_encoder_that_does_not_take_its_modality_is_named_at_its_line(
    tmp_path: Path, kinds
) -> None:
    message = (
        "'resnet18' takes images, frames and spectrograms, and pix is a vector; these fit: mlp"
    )
    assert errors(tmp_path, STUDY) == [f"study.yaml:5: overrides: encoders.pix: {message}"]
    kinds(pix="image", zer="audio")
    message = (
        "'mlp' takes vectors, and zer is a spectrogram; these fit: resnet18, small_cnn, pretrained"
    )
    assert f"preset mfeat:4: encoders.default: {message}" in errors(tmp_path, STUDY)
    assert "did you mean 'resnet18'?" in errors(tmp_path, STUDY.replace("resnet18", "resnet"))[0]


@pytest.mark.parametrize(
    ("kind", "fitting"),
    [
        ("vector", "mlp"),
        ("image", "resnet18, small_cnn, pretrained"),
        ("frames", "resnet18, small_cnn, pretrained"),
        ("text", "text_gru, pretrained"),
    ],
)
def test_errors_name_the_encoders_that_fit(trial: Build, kinds, kind: str, fitting: str) -> None:
    kinds(pix=kind, zer=kind)
    with pytest.raises(ValidationError, match=f"these fit: {fitting}($|;)"):
        trial(encoders={"default": {"type": "dgcnn"}})


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ({"type": "resnet18", "weights": "none.pth"}, "there is no file 'none.pth'"),
        ({"type": "resnet18", "weights": "w.onnx"}, "'w.onnx' is no .pth or .safetensors file"),
        ({"type": "resnet18", "weights": "w.pth", "width": 32}, "weights are for width 64, not 32"),
        ({"type": "small_cnn", "kernel": 4}, "4 is even"),
        ({"type": "small_cnn", "channels": []}, "too_short"),
        ({"type": "pretrained", "path": "nowhere"}, "there is no folder 'nowhere'"),
        ({"type": "pretrained", "path": "empty"}, "has no config.json and no \\*.safetensors"),
        ({"type": "pretrained"}, "missing"),
    ],
)
def test_encoders_that_cannot_be_are_refused(
    media: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: dict, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.pth").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValidationError, match=message):
        media(encoder)


def test_weights_of_three_channels_are_not_for_spectrograms(
    trial: Build, kinds, tmp_path: Path
) -> None:
    kinds(pix="audio", zer="audio")
    path = tmp_path / "w.pth"
    path.touch()
    with pytest.raises(
        ValidationError,
        match=r"encoders.default.weights: weights are for three channels, and pix has",
    ):
        trial(encoders={"default": {"type": "resnet18", "weights": str(path)}})


def test_a_key_depends_on_what_is_in_a_file_and_not_on_its_place(
    media: Build, tmp_path: Path
) -> None:
    def key(name: str, content: bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content)
        return compute_trial_key(media({"type": "resnet18", "weights": str(path)}), "data")

    first = key("a.pth", b"1")
    assert key("b.pth", b"1") == first
    assert key("a.pth", b"22") != first
    assert key("a.pth", b"1") == first
    form = build_canonical_form(media({"type": "resnet18", "weights": str(tmp_path / "a.pth")}))[
        "encoders"
    ]["pix"]
    assert (
        form["weights"] == "sha256:6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    )


def test_a_folders_hash_is_that_of_its_files_and_their_names(media: Build, folder: Path) -> None:
    found = [hash_content(folder)]
    assert (
        build_canonical_form(media({"type": "pretrained", "path": str(folder)}))["encoders"]["pix"][
            "path"
        ]
        == found[0]
    )
    (folder / ".cache").mkdir()
    (folder / ".cache" / "lock").touch()
    (folder / ".hidden").touch()
    assert hash_content(folder) == found[0]
    assert hash_content(folder.rename(folder.with_name("other"))) == found[0]
    folder = folder.with_name("other")
    (folder / "config.json").rename(folder / "configuration.json")
    found.append(hash_content(folder))
    (folder / "model.safetensors").write_bytes(b"WEIGHTS")
    os.utime(folder / "model.safetensors", ns=(0, 0))
    found.append(hash_content(folder))
    (folder / "deep").mkdir()
    (folder / "deep" / "more").touch()
    found.append(hash_content(folder))
    assert len(set(found)) == 4


def test_a_file_that_has_gone_is_said_in_a_line(media: Build, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.touch()
    config = media({"type": "resnet18", "weights": str(path)})
    path.unlink()
    with pytest.raises(IbmlError, match=r"w\.pth cannot be read: No such file"):
        build_canonical_form(config)


def test_a_trained_model_needs_no_file_of_weights(media: Build, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.touch()
    config = media({"type": "resnet18", "weights": str(path)}).for_inference()
    assert config == media({"type": "resnet18"})


def test_the_schema_knows_every_encoder() -> None:
    tags = build_schema("trial")["properties"]["encoders"]["additionalProperties"]["discriminator"][
        "mapping"
    ]
    assert set(tags) == {
        "mlp",
        "resnet18",
        "small_cnn",
        "text_gru",
        "dgcnn",
        "pretrained",
        "plugin",
    }
