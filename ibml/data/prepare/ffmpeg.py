"""Sound and frames out of clips, by ffmpeg."""

from __future__ import annotations

import subprocess
import wave
from collections.abc import Sequence
from pathlib import Path
from shutil import which

from ibml.common.errors import IbmlError

# What a clip may be. A play list may not be one: it would have ffmpeg open whatever files and addresses it names.
_FORMATS = "avi,flv,matroska,mov,mp3,mp4,mpeg,mpegts,ogg,wav,webm"
# Seconds are counted from the first frame, which in some formats comes a little after the sound.
_FIRST_OF_EVERY_SECOND = r"setpts=PTS-STARTPTS,select=isnan(prev_selected_t)+gt(floor(t)\,floor(prev_selected_t)),setpts=N/TB"
_SECONDS = 600
"""How long one clip may take."""


def require_ffmpeg() -> str:
    """Where ffmpeg is."""
    found = which("ffmpeg")
    if found is None:
        raise IbmlError(
            "needs ffmpeg, which is not in PATH; install it with the system's package manager, or conda"
        )
    return found


def write_sound(source: Path, target: Path, rate: int | None = None) -> None:
    """A clip's sound as a wav file: mono, 16 bits, at its own rate unless one is given. Raises `ValueError`."""
    resampled = [] if rate is None else ["-ar", str(rate)]
    written = [
        "-map",
        "0:a:0",
        "-ac",
        "1",
        *resampled,
        "-c:a",
        "pcm_s16le",
        "-f",
        "wav",
        str(target.absolute()),
    ]
    _convert(source, written, target.parent)
    with wave.open(str(target)) as sound:
        if sound.getnframes() == 0:
            raise ValueError("it has no sound")


def write_frames(source: Path, folder: Path) -> None:
    """The first frame of every second of a clip, as 00001.jpg, 00002.jpg, ... Raises `ValueError`."""
    folder.mkdir()
    filters = ["-vf", _FIRST_OF_EVERY_SECOND, "-r", "1", "-pix_fmt", "yuvj420p", "-q:v", "2"]
    _convert(source, ["-map", "0:v:0", *filters, "-f", "image2", "%05d.jpg"], folder)
    if not any(folder.iterdir()):
        raise ValueError("it has no frames")


def _convert(source: Path, output: Sequence[str], folder: Path) -> None:
    allowed = ["-protocol_whitelist", "file", "-format_whitelist", _FORMATS]
    read = ["-threads", "1", *allowed, "-i", f"file:{source.absolute()}"]
    # Without -bitexact the version of ffmpeg would be in the files; clips run beside each other, so one thread does.
    command = [
        require_ffmpeg(),
        "-nostdin",
        "-loglevel",
        "error",
        "-y",
        *read,
        "-threads",
        "1",
        "-bitexact",
        *output,
    ]
    try:
        # In `folder`, since ffmpeg would take a % in its path for a number's place.
        done = subprocess.run(
            command, cwd=folder, stderr=subprocess.PIPE, check=False, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"ffmpeg has not ended after {_SECONDS} seconds") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [
            f"it ended with {done.returncode}"
        ]
        raise ValueError(f"ffmpeg: {said[-1].removeprefix(f'file:{source.absolute()}: ')}")
