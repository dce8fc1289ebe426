"""The command line: parses, calls, prints."""

from neucept.cli.commands import app

__all__ = ["app"]
