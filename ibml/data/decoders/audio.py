"""Audio: a clip to its spectrogram."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ibml.common.optional_deps import import_optional
from ibml.config.preprocessing import AudioConfig
from ibml.data.decoders.arrays import read_array_file
from ibml.data.decoders.base import Array, DecodeError, Decoder, Form
from ibml.data.listing import SamplePart

FLOOR = 1e-7
"""Added before the logarithm."""
_UNKNOWN_LENGTH = 2**31 - 2**16
"""RIFF lengths from here on stand for one that was not known."""


class AudioDecoder(Decoder):
    """Mono, resampled, tiled and cut to its length, clipped to [-1, 1], log spectrogram: (1, F, T), float32.

    An array (.npy, .pkl) of one axis is a clip at the configured rate already, of two axes a spectrogram.
    """

    wire_name = "Audio"
    dtype = np.float32

    def __init__(self, config: AudioConfig):
        self.config = config

    def get_settings(self, form: Form) -> dict[str, Any]:
        return self.config.model_dump(mode="json", exclude={"column"})

    def read(self, part: SamplePart, root: Path, forms: Sequence[Form]) -> dict[Form, list[Array]]:
        path = root / part.files[0]
        if path.suffix in (".npy", ".pkl"):
            found = read_array_file(path)
            if found.ndim == 2:
                return {"plain": [self._check_spectrogram(found)]}
            clip, rate = np.asarray(found, np.float32), self.config.rate
        else:
            clip, rate = read_clip(path, self.config.seconds)
        return {"plain": [spectrogram(fit_clip(clip, rate, self.config), self.config)[None]]}

    def _check_spectrogram(self, values: Array) -> Array:
        shape = (self.config.window // 2 + 1, self.config.steps)
        if values.shape != shape:
            raise DecodeError(f"is a spectrogram of shape {values.shape}, not {shape}")
        return _require_finite(values.astype(np.float32))[None]


def read_clip(path: Path, seconds: float) -> tuple[Array, int]:
    """A file's samples, (n,), the mean over its channels, as far as so many seconds need them, and its rate in Hz."""
    soundfile = import_optional("soundfile", "audio")
    _check_length(path)
    try:
        with soundfile.SoundFile(str(path)) as file:
            rate = file.samplerate
            # a file of some kilobytes can be hours long
            samples = file.read(
                _count_needed_samples(seconds, rate), dtype="float32", always_2d=True
            )
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise DecodeError(
            f"cannot be read as audio: {str(error).replace(str(path), path.name)}"
        ) from None
    clip: Array = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    return clip, int(rate)


def _check_length(path: Path) -> None:
    """Refuse a RIFF file that is cut off, of which soundfile gives what is there without a word."""
    with path.open("rb") as file:
        head = file.read(8)
    declared, there = int.from_bytes(head[4:], "little") + 8, path.stat().st_size
    # a padding byte may lack at the end, and what was written into a pipe has a length that means nothing
    if head[:4] == b"RIFF" and there + 1 < declared < _UNKNOWN_LENGTH:
        raise DecodeError(f"is cut off: {there:,} of {declared:,} bytes are there")


def _count_needed_samples(seconds: float, rate: int) -> int:
    """Samples beyond which all would be cut off, and a filter's reach of those."""
    return int((seconds + 1) * rate) + 1


def fit_clip(clip: Array, rate: int, config: AudioConfig) -> Array:
    """A clip at the configured rate and of the configured length, in [-1, 1]."""
    if clip.ndim != 1 or not len(clip):
        raise DecodeError("has no samples")
    if rate != config.rate:
        clip = import_optional("soxr", "audio").resample(
            clip[: _count_needed_samples(config.seconds, rate)], rate, config.rate
        )
        if not len(clip):
            raise DecodeError("has no samples")
    tiled = np.resize(clip, config.samples)  # repeats
    return np.clip(_require_finite(tiled), -1.0, 1.0).astype(np.float32, copy=False)


def spectrogram(clip: Array, config: AudioConfig) -> Array:
    """log(|S| + 1e-7) or log(P + 1e-7), (F, T)."""
    values = (
        _compute_stft_magnitude(clip, config)
        if config.spectrum == "stft"
        else _compute_power(clip, config)
    )
    logarithm = np.log(values + FLOOR)
    if config.standardise:
        logarithm = (logarithm - logarithm.mean()) / (logarithm.std() + 1e-9)
    return logarithm.astype(np.float32, copy=False)


def _compute_stft_magnitude(clip: Array, config: AudioConfig) -> Array:
    import torch

    spectrum = torch.stft(
        torch.from_numpy(np.ascontiguousarray(clip)),
        config.window,
        config.hop,
        window=torch.hann_window(config.window),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    magnitude: Array = spectrum.abs().numpy()
    return magnitude


def _compute_power(clip: Array, config: AudioConfig) -> Array:
    from scipy.signal import spectrogram as scipy_spectrogram

    power: Array = scipy_spectrogram(
        clip, config.rate, nperseg=config.window, noverlap=config.window - config.hop
    )[2]
    return power


def _require_finite(values: Array) -> Array:
    if not np.isfinite(values).all():
        raise DecodeError("has values that are no numbers")
    return values
