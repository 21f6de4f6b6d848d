"""Stop requests in commands, notebooks, forks, and on terminals without a reader."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from ibml.common.processes.interruption import (
    deferred,
    is_stop_requested,
    raise_if_stop_requested,
    watch_signals,
)

NOBODY_READS = """\
import os, sys, time
from ibml.common.processes.interruption import deferred, watch_signals
with watch_signals(end_at_second=True), deferred(lambda: "Stopping ..."):
    os.set_blocking(2, False)
    try:
        while True:
            os.write(2, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(2, True)
    print("ready", flush=True)
    time.sleep(60)
    time.sleep(60)
"""


def test_a_signal_in_a_deferred_context_is_only_noted() -> None:
    with watch_signals(), deferred(lambda: "Stopping ..."):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)
        assert is_stop_requested()
        with pytest.raises(KeyboardInterrupt):
            raise_if_stop_requested()


def test_a_signal_elsewhere_raises_at_once() -> None:
    with watch_signals(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)


def test_a_stop_request_ends_with_its_context() -> None:
    """However late it comes: a study that is begun next in a notebook must not stop."""
    before = signal.getsignal(signal.SIGTERM)
    for _ in range(20):
        with watch_signals(), deferred(lambda: "Stopping ..."):
            os.kill(os.getpid(), signal.SIGTERM)
        assert not is_stop_requested()
        with watch_signals():
            assert not is_stop_requested()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_forked_process_ends_by_a_signal_and_does_not_stop_its_parent() -> None:
    reader, writer = os.pipe()
    with watch_signals(), deferred(lambda: "Stopping ..."), os.fdopen(reader) as ready:
        child = os.fork()
        if child == 0:
            os.write(writer, b"ready\n")
            time.sleep(60)
            os._exit(0)
        os.close(writer)
        assert ready.readline() == "ready\n"
        os.kill(child, signal.SIGTERM)
        assert os.waitpid(child, 0)[1] == signal.SIGTERM
        time.sleep(0.1)
        assert not is_stop_requested()


def test_other_threads_are_left_alone() -> None:
    seen = []

    def work() -> None:
        with watch_signals(), deferred(lambda: "Stopping ..."):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with watch_signals():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_second_signal_ends_a_process_whose_messages_nobody_reads() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", NOBODY_READS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    time.sleep(1.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    try:
        assert process.wait(5) == 143
    finally:
        process.kill()
        process.communicate()
