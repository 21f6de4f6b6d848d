"""Extraction of sound and frames from clips with ffmpeg."""

from __future__ import annotations

import subprocess
import wave
from collections.abc import Sequence
from pathlib import Path
from shutil import which

from ibml.common.errors import IbmlError

# Allowed formats of clips. Playlists are not allowed, since ffmpeg would open the files and
# addresses that they name.
_FORMATS = "avi,flv,matroska,mov,mp3,mp4,mpeg,mpegts,ogg,wav,webm"
# Seconds are counted from the first frame, which in some formats follows the sound after a delay.
_FIRST_OF_EVERY_SECOND = (
    r"setpts=PTS-STARTPTS,"
    r"select=isnan(prev_selected_t)+gt(floor(t)\,floor(prev_selected_t)),"
    r"setpts=N/TB"
)
_SECONDS = 600
"""Time limit for one clip."""


def require_ffmpeg() -> str:
    """Return the path of ffmpeg; raise `IbmlError` if it is not installed."""
    found = which("ffmpeg")
    if found is None:
        raise IbmlError(
            "ffmpeg is needed and is not in PATH; install it with the system's package manager or"
            " conda"
        )
    return found


def write_sound(source: Path, target: Path, rate: int | None = None) -> None:
    """Write the sound of a clip as a wav file: mono, 16 bits.

    Args:
        source: The clip.
        target: Path of the wav file.
        rate: Rate in Hz; None keeps the rate of the clip.

    Raises:
        ValueError: ffmpeg failed, or the clip has no sound.
    """
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
    """Write the first frame of every second of a clip as 00001.jpg, 00002.jpg and so on.

    Args:
        source: The clip.
        folder: Folder for the frames, which is created.

    Raises:
        ValueError: ffmpeg failed, or the clip has no frames.
    """
    folder.mkdir()
    filters = ["-vf", _FIRST_OF_EVERY_SECOND, "-r", "1", "-pix_fmt", "yuvj420p", "-q:v", "2"]
    _convert(source, ["-map", "0:v:0", *filters, "-f", "image2", "%05d.jpg"], folder)
    if not any(folder.iterdir()):
        raise ValueError("it has no frames")


def _convert(source: Path, output: Sequence[str], folder: Path) -> None:
    allowed = ["-protocol_whitelist", "file", "-format_whitelist", _FORMATS]
    read = ["-threads", "1", *allowed, "-i", f"file:{source.absolute()}"]
    # Without -bitexact, the files would contain the version of ffmpeg. One thread is enough, since
    # clips are converted in parallel.
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
        # Run in `folder`, since ffmpeg would treat a % in a path as the place of a number.
        done = subprocess.run(
            command, cwd=folder, stderr=subprocess.PIPE, check=False, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"ffmpeg did not finish within {_SECONDS} seconds") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"it ended with exit code {done.returncode}"
        raise ValueError(f"ffmpeg: {reason.removeprefix(f'file:{source.absolute()}: ')}")
