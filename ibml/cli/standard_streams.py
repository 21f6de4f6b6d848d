"""Robust standard streams: of any encoding, closed, full, or without a reader.

`run` replaces `sys.stdout` and `sys.stderr` once, so that code that prints needs no changes.
"""

from __future__ import annotations

import codecs
import errno
import io
import locale
import os
import select
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn, TextIO, cast

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

READER_GONE = 141
"""Exit code if the reader of a pipe has ended: 128 + SIGPIPE, as a shell reports it."""
_REPLACE = "ibml.replace"
_SIMILAR = {
    **dict.fromkeys("−–—─━", "-"),
    **dict.fromkeys("·│", "|"),
    **dict.fromkeys("“”", '"'),
    **{
        "±": "+-",
        "×": "x",
        "≈": "~",
        "≤": "<=",
        "≥": ">=",
        "→": "->",
        "←": "<-",
        "↑": "^",
        "↓": "v",
    },
    **{"✓": "x", "†": "+", "…": "...", "’": "'", "µ": "u"},
}
_HARMLESS = ("backslashreplace", "ignore", "namereplace", "xmlcharrefreplace")
"""Codec error handlers that do not raise; a stream keeps such a handler."""


class OutputError(Exception):
    """Standard output cannot be written, and printing is the purpose of the command."""


class _Replacer:
    """Codec error handler that substitutes similar ASCII text, or a question mark."""

    def __init__(self) -> None:
        self.lost = False

    def __call__(self, error: UnicodeError) -> tuple[str, int]:
        if not isinstance(error, UnicodeEncodeError):
            raise error
        texts = [_SIMILAR.get(char, "?") for char in error.object[error.start : error.end]]
        self.lost |= "?" in texts
        return "".join(texts), error.end


class _Descriptor(io.FileIO):
    """File descriptor of a stream; a failed write is recorded, and its bytes are dropped."""

    def __init__(self, number: int, closed: bool):
        super().__init__(number, "w", closefd=False)
        self._closed_before = closed
        self.failure: OSError | None = None
        self.required = False
        self._raised = False

    def write(self, content: ReadableBuffer, /) -> int:
        rest = memoryview(content).cast("B")
        size = len(rest)
        try:
            while rest:
                rest = rest[self._write_some(rest) :]
        except OSError as error:
            self.failure = self.failure or error
        if self.failure and self.required and not self._raised:
            self._raise()
        return size

    def _write_some(self, content: memoryview) -> int:
        if self._closed_before:
            raise OSError(errno.EBADF, "it is closed")
        written: int | None = super().write(content)
        if written is None:  # a full pipe in non-blocking mode
            select.select([], [self.fileno()], [])
        return written or 0

    def _raise(self) -> None:
        """End the command, if this is the main thread."""
        if threading.current_thread() is threading.main_thread():
            self._raised = True  # output during the exit must not raise again
            raise OutputError


class _Streams:
    """Replacement of the standard streams of a command."""

    def __init__(self) -> None:
        self._replacer = _Replacer()
        codecs.register_error(_REPLACE, self._replacer)
        _fill_descriptors()
        # References are kept, because rich temporarily replaces the streams of `sys`.
        self._stdout, self.output = _wrap_stream(sys.stdout)
        self._stderr, _ = _wrap_stream(sys.stderr)
        sys.stdout, sys.stderr = self._stdout, self._stderr
        if not _is_utf8(self._stdout.encoding):  # for workers and servers started from here
            os.environ["PYTHONIOENCODING"] = f"{self._stdout.encoding}:replace"

    def finish(self, code: int) -> int:
        """Flush standard output, report lost output on stderr, and return the exit code."""
        required = self.output.required
        self.output.required = False
        self._stdout.flush()
        failure = self.output.failure
        if failure is None:
            if self._replacer.lost:
                self._print_error(
                    f"Note: characters that {self._stdout.encoding} lacks were replaced by '?'; set"
                    " PYTHONIOENCODING=utf-8 to print them."
                )
            return code
        reader_gone = failure.errno == errno.EPIPE
        if not reader_gone:
            message = f"standard output cannot be written: {failure.strerror}"
            if not required and not code:
                message += "; the command has finished, but its output is incomplete"
            self._print_error(message)
        if code or not required:
            return code
        return READER_GONE if reader_gone else 1

    def _print_error(self, text: str) -> None:
        self._stderr.write(f"{text}\n")
        self._stderr.flush()


_streams: list[_Streams] = []


def run(command: Callable[[], object]) -> NoReturn:
    """Run a command with robust standard streams, and exit with its code.

    A failed write to standard output ends the command with exit code 1, or with `READER_GONE`,
    unless the command has called `ignore_output_errors`.

    Args:
        command: Function to run.

    Raises:
        SystemExit: Always.
    """
    if not all(map(_is_closed_or_file, (sys.stdout, sys.stderr))):
        command()  # the streams belong to a surrounding program
        sys.exit()
    _restart_in_utf8_mode()
    streams = _Streams()
    streams.output.required = True
    _streams.append(streams)
    code: object = 0
    try:
        command()
    except SystemExit as end:
        code = end.code or 0
    except OutputError:
        pass  # recorded in the stream
    sys.exit(streams.finish(code) if isinstance(code, int) else str(code))


def end_process(code: int) -> NoReturn:
    """Exit without waiting for threads, after buffered output is written."""
    for streams in _streams:
        code = streams.finish(code)
    os._exit(code)


def ignore_output_errors() -> None:
    """Let the command run to its end if standard output fails, because it does more than print."""
    for streams in _streams:
        streams.output.required = False


def _restart_in_utf8_mode() -> None:
    """Start Python again in UTF-8 mode if the locale has another encoding.

    Arguments, file names and text files are then UTF-8, in other packages and in workers too. The
    standard streams keep their encoding.
    """
    if (
        sys.flags.utf8_mode
        or "utf8" in sys._xoptions
        or _is_utf8(locale.getencoding())
        or not sys.executable
    ):
        return
    os.environ["PYTHONUTF8"] = "1"
    if not os.environ.get("PYTHONIOENCODING", "").partition(":")[0]:
        os.environ["PYTHONIOENCODING"] = f"{locale.getencoding()}:replace"
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def _is_closed_or_file(stream: TextIO | None) -> bool:
    try:
        return stream is None or (isinstance(stream, io.TextIOWrapper) and stream.fileno() >= 0)
    except (OSError, ValueError):  # in memory, or closed by Python
        return False


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name == "utf-8"


def _fill_descriptors() -> None:
    """Open the null device for closed standard streams; a database would get their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _wrap_stream(stream: TextIO | None) -> tuple[TextIO, _Descriptor]:
    """Return a replacement for a stream, which may be closed or None."""
    if not isinstance(stream, io.TextIOWrapper):
        descriptor = _Descriptor(os.open(os.devnull, os.O_WRONLY), closed=True)
        return io.TextIOWrapper(
            io.BufferedWriter(descriptor), encoding="utf-8", errors=_REPLACE
        ), descriptor
    with suppress(OSError):
        stream.flush()
    descriptor = _Descriptor(stream.fileno(), closed=False)
    buffer = (
        cast(io.BufferedWriter, descriptor)
        if stream.write_through
        else io.BufferedWriter(descriptor)
    )
    made = io.TextIOWrapper(
        buffer,
        encoding=stream.encoding,
        errors=stream.errors if stream.errors in _HARMLESS else _REPLACE,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
    return made, descriptor
