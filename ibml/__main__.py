"""Entry point of the command `ibml` and of `python -m ibml`."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line. Ctrl-C during its import ends the process without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from ibml.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
