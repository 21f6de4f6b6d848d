"""Encoders: sizes counted by hand, written-out formulas, and unusual input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from ibml.common.errors import IbmlError
from ibml.config.component_unions import EncoderConfig
from ibml.inputs import InputSpec, Sequences
from ibml.models.encoders import build_encoder
from ibml.models.encoders.dgcnn.encoder import EdgeConv, find_neighbours
from ibml.models.encoders.resnet18.encoder import Trunk
from ibml.models.multimodal import initialize_weights

WORDS = ("a", "dog", "runs", "home")
SMALL = {
    "resnet18": {"width": 2, "features": 5},
    "small_cnn": {"channels": [2, 3], "features": 5},
    "dgcnn": {"k": 3, "features": 5, "dropout": 0},
}


def encoder(spec: InputSpec | tuple[int, ...], **config: object) -> nn.Module:
    torch.manual_seed(0)
    parsed = TypeAdapter(EncoderConfig).validate_python(config)
    made = build_encoder(parsed, spec if isinstance(spec, InputSpec) else InputSpec(spec))
    initialize_weights(made)
    return made


def random(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_sizes_are_those_counted_by_hand() -> None:
    assert parameters(encoder((3, 224, 224), type="resnet18")) == 11_176_512
    assert parameters(encoder((1, 257, 188), type="resnet18")) == 11_170_240
    linear = 512 * 256 + 256
    assert parameters(encoder((3, 3, 64, 64), type="resnet18", features=256)) == 11_176_512 + linear
    assert (
        parameters(encoder((3, 3, 64, 64), type="resnet18", features=256, head=True))
        == 11_176_512 + linear + 512
    )
    convolutions = (3 * 9 * 96 + 96) + (96 * 9 * 64 + 64)
    assert (
        parameters(encoder((3, 30, 30), type="small_cnn")) == convolutions + 64 * 7 * 7 * 512 + 512
    )
    assert (
        parameters(encoder((3, 99, 99), type="small_cnn", pooling="average"))
        == convolutions + 64 * 512 + 512
    )
    gates = 3 * 512 * (300 + 512 + 2)  # of one direction
    assert parameters(encoder(InputSpec((77,), WORDS), type="text_gru")) == 2 * gates + 5 * 300
    given = InputSpec((77,), WORDS, torch.zeros(5, 300))
    assert parameters(encoder(given, type="text_gru", features=64)) == 2 * gates + 512 * 64 + 64
    edges = 6 * 64 + 128 * 64 + 128 * 128 + 256 * 256 + 2 * (64 + 64 + 128 + 256)
    head = (1024 * 512 + 2 * 512) + (512 * 256 + 256 + 2 * 256) + (256 * 512 + 512)
    assert parameters(encoder((1024, 3), type="dgcnn")) == edges + (512 * 512 + 2 * 512) + head


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("resnet18", (1, 40, 30)),
        ("resnet18", (3, 33, 33)),
        ("resnet18", (3, 2, 32, 32)),
        ("small_cnn", (1, 40, 30)),
        ("small_cnn", (3, 9, 9)),
        ("small_cnn", (3, 2, 8, 8)),
        ("dgcnn", (7, 3)),
    ],
)
def test_features_have_the_width_asked_for_and_repeat_bit_for_bit(
    kind: str, shape: tuple[int, ...]
) -> None:
    def features() -> tuple[Tensor, Tensor]:
        made = encoder(shape, type=kind, **SMALL[kind])
        out = made(random(4, *shape))
        out.square().sum().backward()
        return out, torch.cat([p.grad.flatten() for p in made.parameters()])

    (first, gradient), (second, again) = features(), features()
    assert first.shape == (4, 5)
    assert gradient.isfinite().all()
    assert torch.equal(first, second)
    assert torch.equal(gradient, again)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [("resnet18", (1, 20, 20)), ("resnet18", (3, 1, 20, 20)), ("dgcnn", (1, 3)), ("dgcnn", (7, 3))],
)
def test_a_batch_of_one_sample_can_be_trained(kind: str, shape: tuple[int, ...]) -> None:
    knobs = {**SMALL[kind], "head": True} if kind == "resnet18" else SMALL[kind]
    assert encoder(shape, type=kind, **knobs).train()(random(1, *shape)).isfinite().all()


@pytest.mark.parametrize(
    ("spec", "kind", "message"),
    [
        (InputSpec((3, 8, 8)), "mlp", "'mlp'.*\\(3, 8, 8\\)"),
        (InputSpec((5,)), "resnet18", "'resnet18'.*\\(5,\\)"),
        (InputSpec((3, 3, 30)), "small_cnn", "'small_cnn'.* 2 times"),
        (InputSpec((9, 2)), "dgcnn", "'dgcnn'.*\\(9, 2\\)"),
        (InputSpec((9,)), "text_gru", "'text_gru'"),
        (
            InputSpec((9,), WORDS, torch.zeros(5, 7)),
            "text_gru",
            "300.* 7",
        ),
    ],
)
def test_an_encoder_refuses_samples_it_cannot_take(
    spec: InputSpec, kind: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        encoder(spec, type=kind)


def plain_resnet(state: dict[str, Tensor], images: Tensor) -> Tensor:
    """ResNet-18 in training, from weights with torchvision's names alone."""

    def norm(x: Tensor, name: str) -> Tensor:
        mean, variance = (
            x.mean((0, 2, 3), keepdim=True),
            x.var((0, 2, 3), unbiased=False, keepdim=True),
        )
        scale, shift = (
            state[f"{name}.weight"].view(1, -1, 1, 1),
            state[f"{name}.bias"].view(1, -1, 1, 1),
        )
        return (x - mean) / (variance + 1e-5).sqrt() * scale + shift

    x = norm(F.conv2d(images, state["conv1.weight"], stride=2, padding=3), "bn1").relu()
    x = F.max_pool2d(x, 3, 2, 1)
    for layer in (1, 2, 3, 4):
        for block in (0, 1):
            at, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            y = norm(
                F.conv2d(x, state[f"{at}.conv1.weight"], stride=stride, padding=1), f"{at}.bn1"
            ).relu()
            y = norm(F.conv2d(y, state[f"{at}.conv2.weight"], padding=1), f"{at}.bn2")
            if stride == 2:
                x = norm(
                    F.conv2d(x, state[f"{at}.downsample.0.weight"], stride=2), f"{at}.downsample.1"
                )
            x = (x + y).relu()
    return x.mean((2, 3))


def test_resnet_is_the_one_of_its_paper() -> None:
    made = encoder((3, 70, 50), type="resnet18", width=4, features=32).double()
    for parameter in made.parameters():
        parameter.data += 0.1 * random(*parameter.shape, dtype=torch.float64)
    images = random(3, 3, 70, 50, dtype=torch.float64)
    torch.testing.assert_close(made(images), plain_resnet(made.trunk.state_dict(), images))


@pytest.mark.parametrize("head", [False, True])
def test_resnet_averages_frames(head: bool) -> None:
    made = encoder((3, 4, 40, 40), type="resnet18", width=2, features=6, head=head).double().eval()
    frames = random(2, 3, 4, 40, 40, dtype=torch.float64)
    each = torch.stack([made.head(made.trunk(frames[:, :, t])) for t in range(4)]).mean(0)
    torch.testing.assert_close(made(frames), made.projection(each))
    if head:
        linear, norm, _ = made.head
        x = made.trunk(frames[:, :, 0]) @ linear.weight.T + linear.bias
        torch.testing.assert_close(made(frames[:, :, :1]), (x / (1 + norm.eps) ** 0.5).relu())


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """Return tensors with the names and shapes of torchvision's ResNet-18 file."""
    torch.manual_seed(7)
    state = {
        name: torch.randn_like(t) if t.is_floating_point() else t
        for name, t in Trunk(3, 64).state_dict().items()
    }
    return {**state, "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}


def test_resnet_starts_from_a_file_of_weights(weights: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(weights, tmp_path / "w.pth")
    old = {
        name: tensor for name, tensor in weights.items() if not name.endswith("num_batches_tracked")
    }
    save_file(old, tmp_path / "w.safetensors")
    for name in ("w.pth", "w.safetensors"):
        made = encoder(
            (3, 2, 64, 64), type="resnet18", weights=str(tmp_path / name), features=8, head=True
        )
        state = made.trunk.state_dict()
        assert all(
            torch.equal(state[name], weights[name]) for name in old if not name.startswith("fc.")
        )
        assert (made.head[0].bias == 0).all(), "what is not in the file is initialised"


def test_weights_of_another_network_are_refused(weights: dict[str, Tensor], tmp_path: Path) -> None:
    def refusal(content: object, name: str = "w.pth") -> str:
        torch.save(content, tmp_path / name)
        with pytest.raises(IbmlError) as caught:
            encoder((3, 64, 64), type="resnet18", weights=str(tmp_path / name))
        return str(caught.value).removeprefix(f"{tmp_path}/")

    wrong = refusal({**weights, "conv1.weight": torch.zeros(64, 1, 7, 7)})
    assert wrong.startswith("w.pth ")
    assert wrong.endswith(": 'conv1.weight'")
    lacking = {name: t for name, t in weights.items() if not name.startswith(("conv1.", "layer1."))}
    wrong = refusal({**lacking, "odd": torch.zeros(1)})
    assert ": 'conv1.weight', 'layer1.0.conv1.weight', " in wrong
    assert wrong.endswith(" and 19 more")
    assert "by name" in refusal({"state_dict": weights})
    assert "cannot be read" in refusal({"a": Path()}), "only tensors are unpickled"
    assert refusal(weights, "w.safetensors").startswith("w.safetensors cannot be read")
    with pytest.raises(ValueError, match=r"'resnet18'.*three channels"):
        encoder((1, 64, 64), type="resnet18", weights=str(tmp_path / "w.pth"))


def test_small_cnn_is_two_convolutions_and_a_linear_layer() -> None:
    made = encoder((3, 30, 30), type="small_cnn", channels=[4, 2], features=6).double()
    first, _, _, second, _, _, _, linear, _ = made.layers
    images = random(3, 3, 30, 30, dtype=torch.float64)
    x = F.max_pool2d(F.conv2d(images, first.weight, first.bias, padding=1).relu(), 2)
    x = F.max_pool2d(F.conv2d(x, second.weight, second.bias, padding=1).relu(), 2)
    assert x.shape == (3, 2, 7, 7)
    torch.testing.assert_close(
        made(images), F.linear(x.flatten(1), linear.weight, linear.bias).relu()
    )
    frames = torch.stack([images, images.flip(0)], dim=2)
    torch.testing.assert_close(made(frames), (made(images) + made(images.flip(0))) / 2)


TEXTS = Sequences(
    torch.tensor([[1, 2, 3, 4, 0], [4, 0, 0, 0, 0], [2, 0, 1, 0, 0]]), torch.tensor([4, 1, 3])
)


@pytest.mark.parametrize("vectors", [None, random(5, 6)])
def test_text_gru_is_that_of_each_text_alone(vectors: Tensor | None) -> None:
    spec = InputSpec((5,), WORDS, vectors)
    made = encoder(spec, type="text_gru", embedding=6, hidden=7, features=7).double()
    table = made.embedding.weight if vectors is None else vectors.double()
    for features, ids, length in zip(made(TEXTS), TEXTS.values, TEXTS.lengths, strict=True):
        states, _ = made.gru(table[ids[:length]])
        torch.testing.assert_close(features, ((states[:, :7] + states[:, 7:]) / 2).max(0).values)


@pytest.mark.parametrize("embedded", [False, True])
def test_padding_of_texts_changes_nothing(embedded: bool) -> None:
    made = encoder(InputSpec((9,), WORDS), type="text_gru", embedding=6, hidden=7, features=3)
    longer = Sequences(F.pad(TEXTS.values, (0, 4)), TEXTS.lengths)
    if embedded:
        longer = made.embed(longer).map(
            lambda v: torch.where(longer.valid()[..., None], v, torch.nan)
        )
    assert torch.equal(made(TEXTS), made(longer))
    made(longer).sum().backward()
    assert all(p.grad.isfinite().all() for p in made.parameters())


def test_the_unknown_word_is_zero_and_stays_zero() -> None:
    made = encoder(InputSpec((5,), WORDS), type="text_gru", embedding=6, hidden=7, features=3)
    optimizer = torch.optim.Adam(made.parameters(), 0.1)
    made(TEXTS).square().sum().backward()
    optimizer.step()
    assert (made.embedding.weight[0] == 0).all()
    assert (made.embedding.weight[1:] != 0).any(1).all()
    assert "vectors" not in made.state_dict()


def test_given_word_vectors_are_kept_with_the_weights_and_do_not_change() -> None:
    vectors = random(5, 6)
    made = encoder(
        InputSpec((5,), WORDS, vectors), type="text_gru", embedding=6, hidden=7, features=3
    )
    assert torch.equal(made.state_dict()["vectors"], vectors)
    assert not made.embed(TEXTS).values.requires_grad


def test_neighbours_are_the_nearest_points() -> None:
    points = random(2, 3, 30, dtype=torch.float64)
    expected = (
        torch.cdist(points.transpose(1, 2), points.transpose(1, 2)).topk(5, largest=False).indices
    )
    assert torch.equal(find_neighbours(points, 5).sort(2).values, expected.sort(2).values)
    assert find_neighbours(points, 40).shape == (2, 30, 30)


def test_edge_convolution_is_that_of_every_edge() -> None:
    layer = EdgeConv(4, 6, k=5).double()
    initialize_weights(layer)
    points = random(3, 4, 20, dtype=torch.float64)
    index = find_neighbours(points, 5)
    ends = torch.stack([cloud[:, near] for cloud, near in zip(points, index, strict=True)])
    starts = points[..., None].expand_as(ends)
    edges = F.leaky_relu(
        F.batch_norm(layer.conv(torch.cat([ends - starts, starts], 1)), None, None, training=True),
        0.2,
    )
    torch.testing.assert_close(layer(points), edges.amax(3))


def plain_dgcnn(made: nn.Module, clouds: Tensor) -> Tensor:
    """Compute DGCNN in evaluation, edge by edge; untrained layers normalise by 0 and 1."""

    def activated(x: Tensor) -> Tensor:
        return F.leaky_relu(x / (1 + 1e-5) ** 0.5, 0.2)

    x, layers = clouds.transpose(1, 2), []
    for layer in made.edges:
        index = (
            torch.cdist(x.transpose(1, 2), x.transpose(1, 2)).topk(layer.k, largest=False).indices
        )
        ends = torch.stack([cloud[:, near] for cloud, near in zip(x, index, strict=True)])
        starts = x[..., None].expand_as(ends)
        x = activated(layer.conv(torch.cat([ends - starts, starts], 1))).amax(3)
        layers.append(x)
    x = activated(made.points[0](torch.cat(layers, 1)))
    first, second, third = (layer for layer in made.head if isinstance(layer, nn.Linear))
    return third(activated(second(activated(first(torch.cat([x.amax(2), x.mean(2)], 1))))))


def test_dgcnn_is_the_one_of_its_paper() -> None:
    made = encoder((16, 3), type="dgcnn", k=4, features=5).double().eval()
    clouds = random(2, 16, 3, dtype=torch.float64)
    torch.testing.assert_close(made(clouds), plain_dgcnn(made, clouds))
    assert [layer.p for layer in made.head if isinstance(layer, nn.Dropout)] == [0.2, 0.2]


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_encoders_run_in_half_precision(precision: torch.dtype) -> None:
    made: list[tuple[Callable[..., Tensor], object]] = [
        (encoder((3, 32, 32), type="resnet18", **SMALL["resnet18"]), random(2, 3, 32, 32)),
        (encoder((9, 3), type="dgcnn", **SMALL["dgcnn"]), random(2, 9, 3)),
        (encoder(InputSpec((5,), WORDS), type="text_gru", hidden=8, features=3), TEXTS),
    ]
    with torch.autocast("cpu", precision):
        for network, inputs in made:
            features = network(inputs)
            assert features.isfinite().all()
            features.float().sum().backward()
