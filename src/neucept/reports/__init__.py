"""One self-contained page about the mechanisms of one target."""

from neucept.reports.page import report

__all__ = ["report"]
