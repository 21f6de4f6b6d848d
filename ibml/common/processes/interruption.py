"""Stop requests by SIGINT (Ctrl-C) and SIGTERM.

A signal handler runs between any two instructions of the main thread, which may hold a lock.
Handlers of this module therefore only set a flag or raise `KeyboardInterrupt`; they do not print or
lock. Inside `deferred`, a signal only sets the flag, and the code checks the flag where it is safe
to stop.

A watcher thread, which the interpreter wakes through a pipe, does everything else. It announces the
stop immediately. It ends the process at a second signal, and at the latest `STOP_SECONDS` after the
first.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

STOP_SECONDS = 30.0
"""Time limit for a stopped command to end."""
_SAME_SECONDS = 1.0
"""Signals within this time after the first are the same request.

Programs such as timeout(1) signal a process and then its process group.
"""
_JOIN_SECONDS = 1.0
_WATCHER = "ibml-signals"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _State:
    """State of the stop request; a process has one, like its signal handlers."""

    def __init__(self) -> None:
        self.deferred = 0
        self.announce: list[Callable[[], str]] = []
        self.leftovers: list[Callable[[], str]] = []
        self.signals: frozenset[int] = frozenset()
        self.reset()

    def start(self, signals: frozenset[int], ends_at_second: bool) -> None:
        self.reset()
        self.signals = signals
        self.watched = True
        self.ends_at_second = ends_at_second

    def reset(self) -> None:
        self.number = 0
        self.handled_at = 0.0
        self.signals = frozenset()
        self.watched = False
        self.ends_at_second = False


_state = _State()


def is_stop_requested() -> bool:
    """Return True if this process has received a stop request."""
    return _state.number != 0


def raise_if_stop_requested() -> None:
    """Stop here if this process has received a stop request.

    Raises:
        KeyboardInterrupt: If it has.
    """
    if _state.number:
        raise KeyboardInterrupt


def list_other_threads() -> list[threading.Thread]:
    """Return all threads except the main thread, the current one and the signal watcher."""
    excluded = (threading.main_thread(), threading.current_thread())
    threads = [thread for thread in threading.enumerate() if thread not in excluded]
    return [thread for thread in threads if thread.name != _WATCHER]


def exit_code() -> int:
    """Return the exit code of a stopped command: 128 plus the signal number."""
    return 128 + (_state.number or signal.SIGINT)


@contextmanager
def deferred(announce: Callable[[], str]) -> Iterator[None]:
    """Let a signal only set the flag in this context, instead of raising `KeyboardInterrupt`.

    The code in the context calls `is_stop_requested` or `raise_if_stop_requested` where it is safe
    to stop. In a thread other than the main one, nothing changes.

    Args:
        announce: Returns the message that is printed when the signal arrives. It is called in
            another thread.

    Yields:
        Nothing.
    """
    if threading.current_thread() is not threading.main_thread():  # only it receives signals
        yield
        return
    _state.announce.append(announce)
    _state.deferred += 1
    try:
        yield
    finally:
        _state.deferred -= 1
        _state.announce.remove(announce)


@contextmanager
def register_leftovers(leftovers: Callable[[], str]) -> Iterator[None]:
    """Add a sentence about unfinished work to the last message of a process that is ended.

    Args:
        leftovers: Returns a sentence, or an empty string. It is called in another thread and must
            not wait for a lock.

    Yields:
        Nothing.
    """
    _state.leftovers.append(leftovers)
    try:
        yield
    finally:
        _state.leftovers.remove(leftovers)


@contextmanager
def watch_signals(end_at_second: bool = False) -> Iterator[None]:
    """Handle SIGINT and SIGTERM in this context, as described for this module.

    An ignored signal stays ignored, for example SIGINT of a background job of a shell. In a thread
    other than the main one, or inside another such context, nothing changes.

    Args:
        end_at_second: End the process at a second signal and at the time limit. Otherwise, for use
            within other programs, a second signal raises `KeyboardInterrupt`.

    Yields:
        Nothing.
    """
    if _state.watched or threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {}
    for number in _SIGNALS:
        handler = signal.getsignal(number)
        if handler not in (None, signal.SIG_IGN):
            handlers[number] = handler
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    watcher = threading.Thread(
        target=_watch, args=(reader, end_at_second), name=_WATCHER, daemon=True
    )
    _state.start(frozenset(handlers), end_at_second)
    watcher.start()
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        install_handlers()
        yield
    finally:
        # A signal that arrives now is blocked until the previous handlers are restored.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup)
            os.close(writer)  # ends the watcher
            watcher.join(_JOIN_SECONDS)
            _state.reset()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def install_handlers() -> None:
    """Install the handlers again after a library replaced them; only inside `watch_signals`."""
    if _state.watched and threading.current_thread() is threading.main_thread():
        for number in _state.signals:
            signal.signal(number, _handle)


def _reset_in_child() -> None:
    """Restore the default signal actions in a forked process; only its parent is watched."""
    if not _state.watched:
        return
    signal.set_wakeup_fd(-1)
    for number in _state.signals:
        is_interrupt = number == signal.SIGINT
        signal.signal(number, signal.default_int_handler if is_interrupt else signal.SIG_DFL)
    _state.reset()


os.register_at_fork(after_in_child=_reset_in_child)


def _handle(number: int, frame: FrameType | None) -> None:
    _state.number = _state.number or number
    first = not _state.handled_at
    if first:
        _state.handled_at = time.monotonic()
    again = not _state.ends_at_second and time.monotonic() - _state.handled_at > _SAME_SECONDS
    if again or (first and not _state.deferred):
        raise KeyboardInterrupt


def _watch(reader: int, end_at_second: bool) -> None:
    """Announce the stop and enforce its limits. Runs in the watcher thread.

    Args:
        reader: End of the pipe to which the interpreter writes the numbers of signals.
        end_at_second: See `watch_signals`.
    """
    begun: float | None = None
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    try:
        while True:
            timeout_ms = None
            if begun and end_at_second:
                timeout_ms = 1000 * max(0.0, begun + STOP_SECONDS - time.monotonic())
            if not poll.poll(timeout_ms):
                _end_process(
                    f"Stopping took longer than {STOP_SECONDS:.0f} s, so the process was ended."
                )
            numbers = os.read(reader, 64)
            if not numbers:
                return
            for number in numbers:
                if number not in _state.signals:
                    continue
                # The main thread may be in a call that never returns, and not run its handler.
                _state.number = _state.number or number
                if begun is None:
                    begun = time.monotonic()
                    threading.Thread(target=_announce, name="ibml-stopping", daemon=True).start()
                elif end_at_second and time.monotonic() - begun > _SAME_SECONDS:
                    _end_process("Ended at once.")
    finally:
        os.close(reader)


def _announce() -> None:
    """Announce the stop. Runs in a separate thread, because the terminal may be locked."""
    if _state.announce:
        _write_to_stderr(_state.announce[-1]())


def _end_process(reason: str) -> None:
    """End the process after its last message, unless a stopped terminal or full pipe blocks it."""
    last = threading.Thread(target=_write_last_words, args=(reason,), daemon=True)
    try:
        last.start()
        last.join(_JOIN_SECONDS)
    finally:
        os._exit(exit_code())


def _write_last_words(reason: str) -> None:
    parts = [reason]
    for leftovers in list(_state.leftovers):
        with suppress(Exception):  # an error here must not keep the process from ending
            parts.append(leftovers())
    _write_to_stderr(" ".join(filter(None, parts)))


def _write_to_stderr(text: str) -> None:
    """Write a line to standard error directly, without buffers and their locks."""
    with suppress(OSError, ValueError, AttributeError):
        os.write(sys.stderr.fileno(), f"\n{text}\n".encode(errors="replace"))
