"""Media become what scipy and Pillow make of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image as Pillow
from scipy import signal

from ibml.config.preprocessing import AudioConfig, FramesConfig, ImageConfig, ViewsConfig
from ibml.data.decoders import DecodeError, build_decoder
from ibml.data.decoders.audio import compute_spectrogram, fit_clip, read_clip
from ibml.data.decoders.images import read_picture, split_segments
from ibml.data.decoders.text import split_words
from ibml.data.listing import SamplePart
from ibml.data.sets.ave.config import AVEConfig

CREMAD, AVE = AudioConfig(), AVEConfig().audio


def noise(samples: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.9, 0.9, samples).astype(np.float32)


def test_a_spectrogram_is_the_logarithm_of_scipys_stft() -> None:
    clip = noise(CREMAD.samples)
    found = compute_spectrogram(clip, CREMAD)
    reference = signal.stft(
        clip, nperseg=512, noverlap=512 - 353, window="hann", boundary="zeros", padded=False
    )[2]
    total = signal.get_window("hann", 512).sum()  # by which scipy divides
    magnitude = np.abs(reference) * total
    assert found.shape == (257, 188) == (257, CREMAD.steps)
    np.testing.assert_allclose((np.exp(found) - 1e-7) / total, np.abs(reference), atol=1e-6)
    loud = magnitude > 1
    assert loud.mean() > 0.9
    np.testing.assert_allclose(found[loud], np.log(magnitude[loud] + 1e-7), atol=1e-5)


def test_aves_spectrogram_is_scipys_standardised() -> None:
    clip = noise(AVE.samples)
    found = compute_spectrogram(clip, AVE)
    reference = np.log(signal.spectrogram(clip, 16_000, nperseg=512, noverlap=353)[2] + 1e-7)
    assert found.shape == (257, 1004) == (257, AVE.steps)
    np.testing.assert_allclose(found, (reference - reference.mean()) / reference.std(), atol=1e-5)


def test_a_clip_is_tiled_cut_and_clipped() -> None:
    config = AudioConfig(rate=1000, seconds=0.01, window=4, hop=2)
    made = fit_clip(np.array([0.5, -2.0, 3.0], np.float32), 1000, config)
    np.testing.assert_array_equal(made, [0.5, -1, 1] * 3 + [0.5])
    np.testing.assert_array_equal(fit_clip(noise(50), 1000, config), noise(50)[:10])


def test_a_resampled_tone_keeps_its_pitch(tmp_path: Path) -> None:
    times = np.arange(16_000) / 8000
    stereo = np.stack([np.sin(2 * np.pi * 440 * times), np.zeros(16_000)], axis=1)
    soundfile.write(tmp_path / "a.wav", 0.8 * stereo, 8000)
    made = build_decoder(CREMAD).decode(SamplePart(("a.wav",)), tmp_path, ("plain",))["plain"][0][0]
    assert made.shape == (257, 188)
    assert abs(made[:, 20:60].mean(1).argmax() * 22_050 / 512 - 440) < 22_050 / 512
    reference = 0.4 * np.sin(
        2 * np.pi * 440 * np.arange(22_050) / 22_050
    )  # the mean of both channels
    clip = fit_clip((0.4 * stereo[:, 0]).astype(np.float32), 8000, AudioConfig(seconds=1.0))
    np.testing.assert_allclose(clip[500:20_000], reference[500:20_000], atol=1e-3)


@pytest.mark.parametrize("rate", [8000, 22_050])
def test_of_a_long_clip_only_what_is_needed_is_read(tmp_path: Path, rate: int) -> None:
    config, whole = AudioConfig(seconds=1), noise(20 * rate)
    soundfile.write(tmp_path / "a.wav", whole, rate, subtype="FLOAT")
    clip, found = read_clip(tmp_path / "a.wav", config.seconds)
    assert (len(clip), found) == (2 * rate + 1, rate)
    np.testing.assert_array_equal(fit_clip(clip, rate, config), fit_clip(whole, rate, config))


@pytest.mark.parametrize(
    ("clip", "words"), [([], "no samples"), ([0.1, float("nan")], "not finite")]
)
def test_a_clip_that_is_none_is_refused(clip: list[float], words: str) -> None:
    with pytest.raises(DecodeError, match=words):
        fit_clip(np.array(clip, np.float32), 22_050, CREMAD)


def test_an_array_must_have_the_spectrograms_shape(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((257, 1004)))
    np.save(tmp_path / "b.npy", np.ones((257, 1000)))
    assert build_decoder(AVE).decode(SamplePart(("a.npy",)), tmp_path, ("plain",))["plain"][
        0
    ].shape == (1, 257, 1004)
    with pytest.raises(DecodeError, match=r"\(257, 1000\), not \(257, 1004\)"):
        build_decoder(AVE).decode(SamplePart(("b.npy",)), tmp_path, ("plain",))


def gradient(path: Path, width: int, height: int) -> Pillow.Image:
    rows = np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)
    picture = Pillow.fromarray(rows)
    picture.save(path)
    return picture


def test_an_image_for_evaluation_is_resized_once_from_the_file(tmp_path: Path) -> None:
    picture = gradient(tmp_path / "a.png", 90, 60)
    made = build_decoder(ImageConfig(size=32, stored_side=40)).decode(
        SamplePart(("a.png",)), tmp_path, ("plain", "varied")
    )
    expected = np.asarray(picture.resize((32, 32), Pillow.Resampling.BILINEAR)).astype(int)
    assert np.abs(made["plain"][0] - expected).max() <= 1
    assert (made["plain"][0] != expected).mean() < 0.01
    assert made["varied"][0].shape == (40, 60, 3)
    small = build_decoder(ImageConfig(size=32, stored_side=64)).decode(
        SamplePart(("a.png",)), tmp_path, ("varied",)
    )
    np.testing.assert_array_equal(small["varied"][0], np.asarray(picture))


def test_a_grey_picture_of_16_bits_keeps_its_greys_and_others_are_refused(tmp_path: Path) -> None:
    grey = np.arange(0, 2**16, 2**8, dtype=np.uint16).reshape(16, 16)
    for suffix in ("png", "tiff"):
        Pillow.fromarray(grey + 77).save(tmp_path / f"grey.{suffix}")
        np.testing.assert_array_equal(
            np.asarray(read_picture(tmp_path / f"grey.{suffix}"))[:, :, 1], grey >> 8
        )
    for kind in (np.int32, np.float32):
        Pillow.fromarray(grey.astype(kind)).save(tmp_path / "wide.tiff")
        with pytest.raises(DecodeError, match="has 32-bit values"):
            read_picture(tmp_path / "wide.tiff")


def test_a_picture_is_read_as_it_lies_in_the_file(tmp_path: Path) -> None:
    """Alike for all: not turned by EXIF, without transparency, the first of an animation."""
    red, blue = Pillow.new("RGB", (3, 2), (255, 0, 0)), Pillow.new("RGB", (3, 2), (0, 0, 255))
    exif = Pillow.Exif()
    exif[0x0112] = 6
    red.save(tmp_path / "turned.png", exif=exif)
    red.save(tmp_path / "moving.gif", save_all=True, append_images=[blue])
    clear = red.copy()
    clear.putalpha(0)
    clear.save(tmp_path / "clear.png")
    red.convert("CMYK").save(tmp_path / "print.tiff")
    for file in ("turned.png", "moving.gif", "clear.png", "print.tiff"):
        np.testing.assert_array_equal(np.asarray(read_picture(tmp_path / file)), np.asarray(red))


def test_no_other_program_is_run_for_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\necho > {tmp_path}/ran\n")
    program.chmod(0o755)
    page = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / "page.jpg").write_text(page)
    with pytest.raises(DecodeError, match="cannot be read as an image"):
        read_picture(tmp_path / "page.jpg")
    assert not (tmp_path / "ran").exists()


def test_segments_are_equal_and_short_clips_repeat() -> None:
    assert split_segments(9, 3) == [(0, 3), (3, 6), (6, 9)]
    assert split_segments(10, 3) == [(0, 3), (3, 6), (6, 10)]
    assert split_segments(1, 3) == [(0, 1)] * 3
    assert split_segments(2, 3) == [(0, 1), (0, 1), (1, 2)]


def test_the_middle_frame_of_each_segment_is_evaluated(tmp_path: Path) -> None:
    for number in range(9):
        Pillow.new("RGB", (8, 8), (20 * number, 0, 0)).save(tmp_path / f"{number}.png")
    part = SamplePart(tuple(f"{number}.png" for number in range(9)))
    made = build_decoder(FramesConfig(size=8)).decode(part, tmp_path, ("plain", "varied"))
    assert made["plain"][0][:, 0, 0, 0].tolist() == [20, 80, 140]
    assert [frame[0, 0, 0] for frame in made["varied"]] == [20 * n for n in range(9)]


def test_views_for_evaluation_are_at_equal_distances(tmp_path: Path) -> None:
    for view in range(180):
        Pillow.new("RGB", (10, 10), (view, 0, 0)).save(tmp_path / f"a.{view}.png")
    part = SamplePart(tuple(f"a.{view}.png" for view in range(180)))
    made = build_decoder(ViewsConfig(crop=8, size=4)).decode(part, tmp_path, ("plain", "varied"))
    assert made["plain"][0][:, 0, 0, 0].tolist() == [0, 45, 90, 135]
    assert made["plain"][0].shape == (4, 4, 4, 3)
    assert made["varied"][0][:, 0, 0, 0].tolist() == list(range(180))


def test_words_are_lower_case_and_at_most_so_many() -> None:
    assert split_words("A man's Hat, 2 hats!", 77) == ["a", "man's", "hat", "2", "hats"]
    assert split_words("one two three", 2) == ["one", "two"]
    assert split_words(" ?! ", 77) == [""]
