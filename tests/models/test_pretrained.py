"""Pretrained models: tiny ones of the real library, made here and read from their folders."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    ASTConfig,
    ASTModel,
    BertConfig,
    BertForMaskedLM,
    ConvNextConfig,
    ConvNextModel,
    ViTConfig,
    ViTModel,
)
from transformers.utils import logging

from ibml.common.errors import IbmlError
from ibml.inputs import InputSpec, Sequences
from ibml.models.encoders import build_encoder
from ibml.models.encoders.pretrained.config import PretrainedConfig
from ibml.models.multimodal import initialize_weights

SIZES = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 12,
}
TEXTS = Sequences(torch.tensor([[1, 2, 3, 4], [4, 7, 0, 0]]), torch.tensor([4, 2]))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    logging.disable_progress_bar()
    torch.manual_seed(3)
    made: dict[str, Any] = {
        "vit": ViTModel(ViTConfig(image_size=16, patch_size=8, **SIZES)),
        "bert": BertForMaskedLM(BertConfig(vocab_size=20, max_position_embeddings=9, **SIZES)),
        "ast": ASTModel(
            ASTConfig(
                max_length=20,
                num_mel_bins=12,
                patch_size=4,
                frequency_stride=4,
                time_stride=4,
                **SIZES,
            )
        ),
        "convnext": ConvNextModel(ConvNextConfig(hidden_sizes=[4, 8], depths=[1, 1], num_stages=2)),
    }
    root = tmp_path_factory.mktemp("pretrained")
    for name, model in made.items():
        model.save_pretrained(root / name)
    return {name: root / name for name in made}


def encoder(folder: Path, shape: tuple[int, ...], **knobs: object) -> nn.Module:
    config = PretrainedConfig.model_validate({"path": str(folder), "features": 8, **knobs})
    torch.manual_seed(0)
    made = build_encoder(config, InputSpec(shape))
    initialize_weights(made)
    return made


def images(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def test_features_are_the_mean_of_the_last_hidden_state(folders: dict[str, Path]) -> None:
    """The library's own reading of the folders, with the attention that it chooses."""
    pictures = images(2, 3, 16, 16)
    for name, model in (("vit", ViTModel), ("convnext", ConvNextModel)):
        states = model.from_pretrained(folders[name])(pictures).last_hidden_state
        expected = states.mean(1) if name == "vit" else states.mean((2, 3))
        torch.testing.assert_close(encoder(folders[name], (3, 16, 16)).eval()(pictures), expected)
    sound = images(2, 1, 12, 20)
    states = ASTModel.from_pretrained(folders["ast"])(sound[:, 0].transpose(1, 2)).last_hidden_state
    torch.testing.assert_close(encoder(folders["ast"], (1, 12, 20)).eval()(sound), states.mean(1))
    bert = BertForMaskedLM.from_pretrained(folders["bert"]).bert
    each = [
        bert(ids[None, :length]).last_hidden_state.mean(1)
        for ids, length in zip(TEXTS.values, TEXTS.lengths, strict=True)
    ]
    torch.testing.assert_close(encoder(folders["bert"], (9,)).eval()(TEXTS), torch.cat(each))


def test_frames_are_averaged_and_widths_changed(folders: dict[str, Path]) -> None:
    made = encoder(folders["vit"], (3, 4, 16, 16), features=5).eval()
    frames = images(2, 3, 4, 16, 16)
    each = torch.stack([made(frames[:, :, t]) for t in range(4)])
    assert each.shape == (4, 2, 5)
    torch.testing.assert_close(made(frames), each.mean(0))
    assert (made.projection.bias == 0).all(), "what is new is initialised"


def test_ids_and_their_vectors_give_the_same_and_padding_nothing(folders: dict[str, Path]) -> None:
    made = encoder(folders["bert"], (9,)).eval()
    features = made(TEXTS)
    vectors = made.embed(TEXTS)
    assert torch.equal(made(vectors), features)
    changed = vectors.map(lambda v: torch.where(TEXTS.valid()[..., None], v, 3.0))
    assert torch.equal(made(changed), features)
    longer = Sequences(torch.nn.functional.pad(TEXTS.values, (0, 3)), TEXTS.lengths)
    torch.testing.assert_close(made(longer), features)


def test_a_frozen_model_has_no_gradient_and_no_dropout(folders: dict[str, Path]) -> None:
    for frozen in (True, False):
        made = encoder(folders["bert"], (9,), features=5, frozen=frozen).train()
        made(TEXTS).square().sum().backward()
        assert made.projection.weight.grad is not None
        assert (made.body.embeddings.word_embeddings.weight.grad is None) == frozen
        assert torch.equal(made(TEXTS), made(TEXTS)) == frozen
        assert made.body.training != frozen


def test_weights_are_those_of_the_file(folders: dict[str, Path]) -> None:
    stored = ViTModel.from_pretrained(folders["vit"]).state_dict()
    state = encoder(folders["vit"], (3, 16, 16)).body.state_dict()
    assert state.keys() == stored.keys()
    assert all(torch.equal(state[name], stored[name]) for name in stored)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("vit", (3, 24, 24), "takes no samples of shape \\(3, 24, 24\\): Input image size"),
        ("vit", (4, 16, 16), "takes no samples of shape"),
        ("vit", (9,), "takes pixel_values, which a sample of shape \\(9,\\) is not"),
        ("bert", (10,), "takes no samples of shape \\(10,\\)"),
        ("bert", (3, 16, 16), "takes input_ids"),
        ("ast", (1, 12, 28), "takes no samples"),
        ("ast", (3, 12, 20), "takes input_values"),
    ],
)
def test_a_model_refuses_samples_it_cannot_take(
    folders: dict[str, Path], name: str, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        encoder(folders[name], shape)


def test_words_are_not_tokens(folders: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match=r"'pretrained'.*tokenizer"):
        build_encoder(PretrainedConfig(path=str(folders["bert"])), InputSpec((9,), ("a", "dog")))


def test_folders_that_are_no_whole_model_are_refused(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text((folders["vit"] / "config.json").read_text())
    (broken / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(IbmlError, match="broken cannot be loaded: "):
        encoder(broken, (3, 16, 16))
    stored = load_file(folders["vit"] / "model.safetensors")
    del stored["layernorm.weight"]
    save_file(stored, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(IbmlError, match=r"broken lacks weights: layernorm\.weight, 1 in all"):
        encoder(broken, (3, 16, 16))


def test_code_beside_a_model_does_not_run(folders: dict[str, Path], tmp_path: Path) -> None:
    config = '{"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}'
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    save_file({}, tmp_path / "model.safetensors")
    with pytest.raises(IbmlError, match="cannot be loaded: "):
        encoder(tmp_path, (3, 16, 16))
    assert not (tmp_path / "ran").exists()


def test_a_missing_package_is_named(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(IbmlError, match=r"pip install 'ibml\[transformers\]'"):
        encoder(folders["vit"], (3, 16, 16))


def test_loading_says_nothing(folders: dict[str, Path], capfd: pytest.CaptureFixture[str]) -> None:
    logging.enable_progress_bar()
    encoder(folders["bert"], (9,))
    assert logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    assert capfd.readouterr() == ("", "")
