"""The command line: parses, calls, prints."""

from neucept.cli import opening  # noqa: F401  # its commands join those of the app
from neucept.cli.commands import app

__all__ = ["app"]
