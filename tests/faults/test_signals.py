"""SIGINT and SIGTERM at any moment: the command ends soon and can be repeated."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import time

import psutil
import pytest

from tests.conftest import CommandLine
from tests.faults.conftest import RAY, Shaken, Tally
from tests.study.test_ablation import LONG
from tests.support.waiting import wait_for_epochs, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.faults]
MOMENTS = int(os.environ.get("IBML_TEST_SIGNALS", "0"))
"""Number of signals; `make faults` sets 40."""
LONGEST_SECONDS = 24.0
"""About as long as the study takes."""
END_SECONDS = 40.0


@pytest.mark.skipif(
    "IBML_TEST_SIGNALS" not in os.environ, reason="repeated signals: make faults runs it"
)
def test_a_signal_at_any_moment_ends_the_command_and_loses_nothing(
    shaken: Shaken, tally: Tally
) -> None:
    """Send signals spread evenly over a study. A finished study is checked and begun again."""
    shaken.cli.copies_store = False  # a moment may be that of the store's creation
    chance = random.Random(22)
    moments = [(index + chance.random()) * LONGEST_SECONDS / MOMENTS for index in range(MOMENTS)]
    chance.shuffle(moments)
    longest, codes = 0.0, dict[int, int]()
    in_study = 0
    for index, moment in enumerate(moments):
        number = (signal.SIGTERM, signal.SIGINT)[index % 2]
        driver = shaken.start(*RAY)
        try:
            driver.communicate(timeout=moment)
        except subprocess.TimeoutExpired:
            seconds, code, err = stop(driver, number)
            longest, in_study = max(longest, seconds), in_study + 1
            codes[code] = codes.get(code, 0) + 1
            # Before Python handles signals, the signal itself ends the process. A shell shows the
            # same code.
            assert code in (0, 128 + number, -number), f"after {moment:.1f} s: {code}\n{err}"
            assert "Traceback" not in err, f"after {moment:.1f} s:\n{err}"
            wait_until(lambda: not shaken.processes(), END_SECONDS)
        if driver.returncode == 0:
            check_and_begin_anew(shaken, tally, in_study)
            in_study = 0
    shaken.run(*RAY)
    check_and_begin_anew(shaken, tally, in_study)
    print(f"{MOMENTS} signals: longest end {longest:.1f} s, exit codes {codes}")
    assert longest < END_SECONDS


def stop(driver: subprocess.Popen[str], number: signal.Signals) -> tuple[float, int, str]:
    """Send a signal; return the seconds to the end, the exit code and the messages."""
    sent = time.monotonic()
    send(driver, number)
    _, err = driver.communicate(timeout=2 * END_SECONDS)
    return time.monotonic() - sent, driver.returncode, err


def send(driver: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send SIGINT to the process group as a terminal does, or SIGTERM as a scheduler does."""
    if number == signal.SIGINT:
        os.killpg(driver.pid, number)
    else:
        driver.send_signal(number)


def check_and_begin_anew(shaken: Shaken, tally: Tally, tried: int) -> None:
    shaken.check(tally, "driver stopped (SIGINT, SIGTERM)", tried)
    for left in ("mlflow.db", "mlruns", "checkpoints"):
        path = shaken.cli.folder / left
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_stop_is_announced_at_once_and_trials_checkpoint(
    cli: CommandLine, number: signal.Signals
) -> None:
    cli.write(
        "long.yaml", LONG.replace("overrides: {", "overrides: {trainer.checkpoint_seconds: 3600, ")
    )
    driver = cli.start("ablate", "long.yaml")
    wait_for_epochs(cli.folder, 20)
    sent = time.monotonic()
    send(driver, number)
    assert driver.stderr
    line = ""
    while "Stopping" not in line:
        line = driver.stderr.readline()
        assert line, "it ended without a word"
    assert time.monotonic() - sent < 2
    assert re.search(r"Stopping: waiting for \d running trials? to checkpoint", line)
    _, err = driver.communicate(timeout=END_SECONDS)
    assert driver.returncode == 128 + number, err
    assert list(cli.folder.glob("checkpoints/*/trials/*/state-*.ckpt")), "no checkpoint was due"


def test_a_second_signal_ends_at_once(cli: CommandLine) -> None:
    cli.write("long.yaml", LONG)
    driver = cli.start("ablate", "long.yaml")
    wait_for_epochs(cli.folder, 20)
    (worker, *_) = [
        process
        for process in psutil.Process(driver.pid).children(recursive=True)
        if "Trainable" in str(process.cmdline())
    ]
    worker.suspend()  # it will never checkpoint
    driver.send_signal(signal.SIGTERM)
    time.sleep(1.5)
    assert driver.poll() is None
    sent = time.monotonic()
    driver.send_signal(signal.SIGTERM)
    _, err = driver.communicate(timeout=END_SECONDS)
    assert time.monotonic() - sent < 2
    assert driver.returncode == 143
    assert "Ended at once." in err
    wait_until(lambda: not Shaken(cli).processes(), END_SECONDS)


def test_a_worker_that_never_checkpoints_does_not_hold_up_the_end(cli: CommandLine) -> None:
    cli.write("long.yaml", LONG)
    driver = cli.start("ablate", "long.yaml")
    wait_for_epochs(cli.folder, 20)
    for process in psutil.Process(driver.pid).children(recursive=True):
        if "Trainable" in str(process.cmdline()):
            process.suspend()
    seconds, code, err = stop(driver, signal.SIGTERM)
    assert code == 143, err
    assert seconds < END_SECONDS
    wait_until(lambda: not Shaken(cli).processes(), END_SECONDS)
