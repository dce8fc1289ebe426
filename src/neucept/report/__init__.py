"""One self-contained page about the mechanisms of one target."""

from neucept.report.page import report

__all__ = ["report"]
