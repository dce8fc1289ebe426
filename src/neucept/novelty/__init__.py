"""Inputs that are unlike all that were recorded. Knows recordings, no networks."""

from neucept.novelty.novelty import Novelty

__all__ = ["Novelty"]
