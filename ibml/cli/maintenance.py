"""Commands that keep a store and its files in order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from ibml.cli.console import Checkpoints, TrackingUri, errors, fail, format_store_uri, out
from ibml.cli.standard_streams import ignore_output_errors
from ibml.common.errors import IbmlError


def sync(tracking_uri: TrackingUri = None, checkpoints: Checkpoints = None) -> None:
    """Put into MLflow what commands that have ended could not, since it did not answer."""
    with errors():
        from ibml.queries import open_store
        from ibml.study.sessions import open_session

        ignore_output_errors()
        with open_session(open_store(tracking_uri), checkpoints, out) as session:
            # Its beginning delivers everything that can be.
            if session.quarantined:
                fail(
                    f"{len(session.quarantined)} journals are left in {session.workspace.spool}", 1
                )
            out.print(
                f"{format_store_uri(tracking_uri)} has all of {session.workspace.spool}",
                soft_wrap=True,
            )


def gc(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be removed; remove nothing.")
    ] = False,
    tracking_uri: TrackingUri = None,
    checkpoints: Checkpoints = None,
) -> None:
    """Remove checkpoints that no run of the store refers to."""
    with errors():
        from ibml.queries import open_store
        from ibml.study.gc import find_leftovers
        from ibml.study.sessions import open_session

        if not dry_run:
            ignore_output_errors()
        with (
            _wrap_file_errors(),
            open_session(open_store(tracking_uri, existing=True), checkpoints, out) as session,
        ):
            found = find_leftovers(session)
            for leftover in found:
                out.print(f"{leftover.path}: {leftover.reason}", soft_wrap=True)
            size = sum(leftover.size for leftover in found) / 1e6
            for leftover in [] if dry_run else found:
                leftover.remove()
            verb = "would be removed" if dry_run else "removed"
            out.print(
                f"{len(found)} files and folders with {size:.1f} MB {verb} in {session.workspace.root}",
                soft_wrap=True,
            )


@contextmanager
def _wrap_file_errors() -> Iterator[None]:
    """Files may be another user's, or go while they are looked at."""
    try:
        yield
    except OSError as error:
        raise IbmlError(
            f"{error.filename}: {error.strerror}; what was named before is done"
        ) from None
