"""Maintenance commands: upload buffered results, and remove unused checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from ibml.cli.console import fail, format_store_uri, handle_errors, out
from ibml.cli.options import Checkpoints, TrackingUri
from ibml.cli.standard_streams import ignore_output_errors
from ibml.common.errors import IbmlError


def sync(tracking_uri: TrackingUri = None, checkpoints: Checkpoints = None) -> None:
    """Upload buffered results to MLflow.

    Results are buffered while MLflow is unavailable.
    """
    with handle_errors():
        from ibml.queries import open_store
        from ibml.study.sessions import open_session

        ignore_output_errors()
        with open_session(open_store(tracking_uri), checkpoints, out) as session:
            # Opening the session uploads all journals that can be uploaded.
            spool = session.workspace.spool
            if session.quarantined:
                fail(f"{len(session.quarantined)} journals could not be uploaded from {spool}", 1)
            uri = format_store_uri(tracking_uri)
            out.print(f"All results of {spool} are in {uri}", soft_wrap=True)


def gc(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the files without removing them.")
    ] = False,
    tracking_uri: TrackingUri = None,
    checkpoints: Checkpoints = None,
) -> None:
    """Remove checkpoints that no run of the store needs."""
    with handle_errors():
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
            if not dry_run:
                for leftover in found:
                    leftover.remove()
            verb = "would be removed" if dry_run else "removed"
            counted = f"{len(found)} files and folders with {size:.1f} MB"
            out.print(f"{counted} {verb} in {session.workspace.root}", soft_wrap=True)


@contextmanager
def _wrap_file_errors() -> Iterator[None]:
    """Raise an `OSError` of the context as an `IbmlError`.

    Files may belong to another user, or disappear during the scan.
    """
    try:
        yield
    except OSError as error:
        raise IbmlError(
            f"{error.filename}: {error.strerror}; repeat the command when the file is accessible"
        ) from None
