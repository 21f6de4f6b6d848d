"""Stop requests by SIGINT (Ctrl-C) and SIGTERM.

A signal handler runs between any two instructions of the main thread, which may hold a lock there. Handlers here
therefore only set a flag or raise `KeyboardInterrupt`; nothing is printed or locked in them. Where work must end in
order (`deferred`), the flag alone is set, and the code asks for it where it is safe to stop. Everything else is done
by a watcher thread, which the interpreter wakes through a pipe: it announces the stop at once, ends the process at a
second signal, and ends it `STOP_SECONDS` after the first whatever is still waited for.
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
"""How long the end of a stopped command may take."""
_SAME_SECONDS = 1.0
"""Signals so soon after the first are the same request: timeout(1) and others signal a process and then its group."""
_JOIN_SECONDS = 1.0
_WATCHER = "ibml-signals"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _State:
    """The stop request of this process, of which there is one, as there is one set of signal handlers."""

    def __init__(self) -> None:
        self.deferred = 0
        self.announce: list[Callable[[], str]] = []
        self.leftovers: list[Callable[[], str]] = []
        self.signals: frozenset[int] = frozenset()
        self.reset()

    def begin(self, signals: frozenset[int], ends_at_second: bool) -> None:
        self.reset()
        self.signals, self.watched, self.ends_at_second = signals, True, ends_at_second

    def reset(self) -> None:
        self.number, self.handled_at = 0, 0.0
        self.signals = frozenset()
        self.watched = self.ends_at_second = False


_state = _State()


def is_stop_requested() -> bool:
    """Return whether this process was asked to stop."""
    return _state.number != 0


def raise_if_stop_requested() -> None:
    """Stop here if this process was asked to. Raises `KeyboardInterrupt`."""
    if _state.number:
        raise KeyboardInterrupt


def list_other_threads() -> list[threading.Thread]:
    """Return the threads that run beside the main one and the watcher of signals."""
    own = (threading.main_thread(), threading.current_thread())
    return [
        thread for thread in threading.enumerate() if thread not in own and thread.name != _WATCHER
    ]


def exit_code() -> int:
    """Return the exit code of a stopped command: 128 and the number of the signal."""
    return 128 + (_state.number or signal.SIGINT)


@contextmanager
def deferred(announce: Callable[[], str]) -> Iterator[None]:
    """Let a signal set the flag alone in this context, whose code asks for it where it is safe to stop.

    Args:
        announce: Returns what is said at once when the signal comes. It is called in another thread.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone receives signals
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
    """Let the last words of a process that is ended include what is left to do.

    Args:
        leftovers: Returns a sentence, or nothing. It is called in another thread and must not wait for a lock.
    """
    _state.leftovers.append(leftovers)
    try:
        yield
    finally:
        _state.leftovers.remove(leftovers)


@contextmanager
def watch_signals(end_at_second: bool = False) -> Iterator[None]:
    """Handle SIGINT and SIGTERM as this module says until the end of the context.

    A signal that is ignored, as SIGINT in the background of a shell, stays ignored. In a thread other than the main
    one, or inside another such context, nothing changes.

    Args:
        end_at_second: End the process at a second signal and at the time limit. Without it, for use within other
            programs, a second signal raises `KeyboardInterrupt`.
    """
    if _state.watched or threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    handlers = {
        number: handler
        for number, handler in handlers.items()
        if handler not in (None, signal.SIG_IGN)
    }
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    watcher = threading.Thread(
        target=_watch, args=(reader, end_at_second), name=_WATCHER, daemon=True
    )
    _state.begin(frozenset(handlers), end_at_second)
    watcher.start()
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        install_handlers()
        yield
    finally:
        # A signal that comes now waits until the handlers of before are back.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup)
            os.close(writer)  # which ends the watcher
            watcher.join(_JOIN_SECONDS)
            _state.reset()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def install_handlers() -> None:
    """Install the handlers again after a library replaced them; nothing outside `watch_signals`."""
    if _state.watched and threading.current_thread() is threading.main_thread():
        for number in _state.signals:
            signal.signal(number, _handle)


def _reset_in_child() -> None:
    """Give a forked process the signals' default actions: its parent is the one that is watched."""
    if _state.watched:
        signal.set_wakeup_fd(-1)
        for number in _state.signals:
            signal.signal(
                number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            )
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
    """Do what a signal asks for. Runs in a thread of its own."""
    begun: float | None = None
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    try:
        while True:
            left = (
                max(0.0, begun + STOP_SECONDS - time.monotonic())
                if begun and end_at_second
                else None
            )
            if not poll.poll(None if left is None else 1000 * left):
                _end_process(
                    f"Stopping took longer than {STOP_SECONDS:.0f} s, so the process was ended."
                )
            numbers = os.read(reader, 64)
            if not numbers:
                return
            for number in numbers:
                if number not in _state.signals:
                    continue
                _state.number = (
                    _state.number or number
                )  # the main thread may be in a call that never returns
                if begun is None:
                    begun = time.monotonic()
                    threading.Thread(target=_announce, name="ibml-stopping", daemon=True).start()
                elif end_at_second and time.monotonic() - begun > _SAME_SECONDS:
                    _end_process("Ended at once.")
    finally:
        os.close(reader)


def _announce() -> None:
    """Say that the process stops. The terminal may be locked by another thread, so the watcher does not wait."""
    if _state.announce:
        _write_to_stderr(_state.announce[-1]())


def _end_process(reason: str) -> None:
    """End the process, after the last words if those can be written: a terminal may be stopped, a pipe full."""
    last = threading.Thread(target=_write_last_words, args=(reason,), daemon=True)
    try:
        last.start()
        last.join(_JOIN_SECONDS)
    finally:
        os._exit(exit_code())


def _write_last_words(reason: str) -> None:
    parts = [reason]
    for leftovers in list(_state.leftovers):
        with suppress(Exception):  # the last words must not keep the process
            parts.append(leftovers())
    _write_to_stderr(" ".join(filter(None, parts)))


def _write_to_stderr(text: str) -> None:
    """Write a line to standard error, past buffers and their locks."""
    with suppress(OSError, ValueError, AttributeError):
        os.write(sys.stderr.fileno(), f"\n{text}\n".encode(errors="replace"))
