"""Benchmark of data loading in CREMA-D's layout at the preset's sizes.

    python -m tests.benchmarks.loading [CLIPS]

It compares decoding with a plain loop over the same files, and measures batches from the cache and
memory. Clips are noise with the sizes of the real data set: 2.5 s at 16 kHz, three frames of 480 x
360.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from ibml.data.sets.cremad.config import CremadConfig

BATCH, CLIPS = 64, 600
LABELS = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")


def write_set(root: Path, clips: int) -> None:
    """Write a data set in CREMA-D's layout, with every tenth clip in the test split."""
    generator = np.random.default_rng(0)
    (root / "CREMA-D" / "AudioWAV").mkdir(parents=True)
    scenes = [
        Image.fromarray(generator.integers(0, 255, (45, 60, 3), np.uint8)).resize((480, 360))
        for _ in range(32)
    ]
    for n in range(clips):
        samples = generator.uniform(-0.5, 0.5, 40_000).astype(np.float32)
        soundfile.write(root / "CREMA-D" / "AudioWAV" / f"c{n}.wav", samples, 16_000)
        folder = root / "CREMA-D" / "Image-01-FPS" / f"c{n}"
        folder.mkdir(parents=True)
        for frame in range(3):
            scenes[(n + frame) % 32].save(folder / f"{frame}.jpg", quality=90)
    for split, chosen in (("train", lambda n: n % 10), ("test", lambda n: not n % 10)):
        rows = [f"c{n},{LABELS[n % 6]}\n" for n in range(clips) if chosen(n)]
        (root / f"{split}.csv").write_text("".join(rows))


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def plain_loop(root: Path) -> None:
    """Read all files one after another, as a simple loader without cache does."""
    for wav in sorted((root / "CREMA-D" / "AudioWAV").iterdir()):
        soundfile.read(wav, dtype="float32")
        for frame in sorted((root / "CREMA-D" / "Image-01-FPS" / wav.stem).iterdir()):
            np.asarray(
                Image.open(frame).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
            )


def epoch(config: CremadConfig) -> tuple[int, float]:
    """Read one epoch of training batches from the cache, and return samples and seconds."""
    import torch

    from ibml import data
    from ibml.data.feeds import build_feed
    from ibml.training.device import keep_freed_memory

    torch.set_num_threads(1)
    keep_freed_memory()
    dataset = data.load(config, config.modalities, 0)
    batches = build_feed(dataset.train, torch.device("cpu"), torch.float32, 0, 2)
    began, samples = time.perf_counter(), 0
    for _, _, labels in batches.batches(torch.randperm(len(dataset.train)).split(BATCH), 0):
        samples += len(labels)
    return samples, time.perf_counter() - began


def child(root: str) -> None:
    """Read one epoch in this process, and print samples, seconds and peak memory in MB."""
    config = CremadConfig(root=root)
    samples, seconds = epoch(config)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(samples, seconds, peak)


def measure(root: Path) -> tuple[float, float, float]:
    """Return samples per second, peak memory in MB and samples of the second of two processes."""
    for _ in range(2):
        command = [sys.executable, "-m", "tests.benchmarks.loading", "--child", str(root)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    samples, seconds, peak = map(float, said)
    return samples / seconds, peak, samples


def main(clips: int) -> None:
    """Print all measurements for a number of clips."""
    from ibml import data

    with tempfile.TemporaryDirectory() as place:
        os.environ["IBML_CACHE"] = f"{place}/cache"
        for size in (clips // 3, clips):
            write_set(Path(place, str(size)), size)
        root = Path(place, str(clips))
        plain_loop(root)  # both read the files from memory
        plain = timed(lambda: plain_loop(root))
        cold = timed(lambda: data.prepare_datasets([CremadConfig(root=str(root))]))
        data.prepare_datasets([CremadConfig(root=f"{place}/{clips // 3}")])
        stored = sum(
            file.stat().st_size for file in Path(place, "cache").rglob("*") if file.is_file()
        )
        (rate, peak, samples), (_, small, few) = (
            measure(root),
            measure(Path(place, str(clips // 3))),
        )
    print(f"{clips} clips of CREMA-D's layout, 3 frames of 224 x 224, spectrograms of 257 x 188")
    print(f"  plain loop over the files             {clips / plain:8.0f} clips/s")
    print(
        f"  validation, decoding and storage      {clips / cold:8.0f} clips/s,"
        f" {plain / cold:.2f} times as fast"
    )
    print(f"  training batches from the cache       {rate:8.0f} clips/s")
    print(f"  peak memory, {samples:5.0f} clips             {peak:8.0f} MB")
    print(f"  peak memory, {few:5.0f} clips             {small:8.0f} MB")
    print(f"  size of the cache                     {stored / 1e6:8.0f} MB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else CLIPS)
