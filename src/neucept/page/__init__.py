"""One self-contained page about the mechanisms of one target."""

from neucept.page.write import report

__all__ = ["report"]
