"""Decoder of audio: a clip becomes its spectrogram."""

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
"""RIFF lengths from here on mean that the length was unknown when the file was written."""


class AudioDecoder(Decoder):
    """Log spectrograms (1, F, T), float32.

    A clip is mixed to mono, resampled, repeated or cut to its length and clipped to [-1, 1] first.
    An array (.npy, .pkl) with one axis is a clip at the configured rate, with two axes a
    spectrogram.

    Args:
        config: Preprocessing of the sound.
    """

    wire_name = "Audio"
    dtype = np.float32

    def __init__(self, config: AudioConfig):
        self.config = config

    def get_settings(self, form: Form) -> dict[str, Any]:
        """Return the preprocessing without its column."""
        return self.config.model_dump(mode="json", exclude={"column"})

    def decode(
        self, part: SamplePart, root: Path, forms: Sequence[Form]
    ) -> dict[Form, list[Array]]:
        """Decode one clip, see `Decoder.decode`."""
        path = root / part.files[0]
        if path.suffix in (".npy", ".pkl"):
            found = read_array_file(path)
            if found.ndim == 2:
                return {"plain": [self._check_spectrogram(found)]}
            clip = np.asarray(found, np.float32)
            rate = self.config.rate
        else:
            clip, rate = read_clip(path, self.config.seconds)
        fitted = fit_clip(clip, rate, self.config)
        return {"plain": [compute_spectrogram(fitted, self.config)[None]]}

    def _check_spectrogram(self, values: Array) -> Array:
        shape = (self.config.window // 2 + 1, self.config.steps)
        if values.shape != shape:
            raise DecodeError(f"is a spectrogram of shape {values.shape}, not {shape}")
        return _require_finite(values.astype(np.float32))[None]


def read_clip(path: Path, seconds: float) -> tuple[Array, int]:
    """Read the beginning of an audio file.

    Args:
        path: Path of the file.
        seconds: Length of the clip that will be cut from it.

    Returns:
        Mean over the channels, shape (n,), with some samples more than needed, and the rate in Hz.

    Raises:
        DecodeError: The file is cut off or is not audio.
        OSError: The file cannot be read.
    """
    soundfile = import_optional("soundfile", "audio")
    _check_length(path)
    try:
        with soundfile.SoundFile(str(path)) as file:
            rate = file.samplerate
            # A file of some kilobytes can be hours long.
            count = _count_needed_samples(seconds, rate)
            samples = file.read(count, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError) as error:
        reason = str(error).replace(str(path), path.name)
        raise DecodeError(f"cannot be read as audio: {reason}") from None
    clip: Array = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    return clip, int(rate)


def _check_length(path: Path) -> None:
    """Refuse a RIFF file that is cut off, which soundfile would read without an error."""
    with path.open("rb") as file:
        head = file.read(8)
    declared = int.from_bytes(head[4:], "little") + 8
    size = path.stat().st_size
    # A padding byte may be missing at the end. The length of a file written into a pipe is unknown.
    if head[:4] == b"RIFF" and size + 1 < declared < _UNKNOWN_LENGTH:
        raise DecodeError(f"is cut off: it has {size:,} of {declared:,} bytes")


def _count_needed_samples(seconds: float, rate: int) -> int:
    """Count the samples of a clip and of the resampling filter's reach after it."""
    return int((seconds + 1) * rate) + 1


def fit_clip(clip: Array, rate: int, config: AudioConfig) -> Array:
    """Resample a clip and repeat or cut it to the configured length.

    Args:
        clip: Samples, shape (n,).
        rate: Their rate in Hz.
        config: Preprocessing with the rate and the length of the result.

    Returns:
        Samples in [-1, 1], shape (config.samples,), float32.

    Raises:
        DecodeError: The clip has no samples, or values that are not finite.
    """
    if clip.ndim != 1 or not len(clip):
        raise DecodeError("has no samples")
    if rate != config.rate:
        soxr = import_optional("soxr", "audio")
        clip = soxr.resample(clip[: _count_needed_samples(config.seconds, rate)], rate, config.rate)
        if not len(clip):
            raise DecodeError("has no samples")
    tiled = np.resize(clip, config.samples)  # np.resize repeats
    return np.clip(_require_finite(tiled), -1.0, 1.0).astype(np.float32, copy=False)


def compute_spectrogram(clip: Array, config: AudioConfig) -> Array:
    """Compute log(|S| + 1e-7) or log(P + 1e-7).

    Args:
        clip: Samples, shape (n,).
        config: Preprocessing; `spectrum` selects the magnitude |S| of the short-time Fourier
            transform or the power P.

    Returns:
        Log spectrogram, shape (F, T), float32; standardized if configured.
    """
    if config.spectrum == "stft":
        values = _compute_stft_magnitude(clip, config)
    else:
        values = _compute_power(clip, config)
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
    from scipy.signal import spectrogram

    overlap = config.window - config.hop
    power: Array = spectrogram(clip, config.rate, nperseg=config.window, noverlap=overlap)[2]
    return power


def _require_finite(values: Array) -> Array:
    if not np.isfinite(values).all():
        raise DecodeError("has values that are not finite numbers")
    return values
