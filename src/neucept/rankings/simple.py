"""Scores that need no network, only what was recorded."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from neucept.rankings.subject import Subject


@dataclass(frozen=True)
class Activation:
    """The mean activation over the inputs, "the simplest form of attribution method" (NeuCEPT, Appendix A.3).

    Examples
    --------
    >>> from neucept import Recording
    >>> recording = Recording({"a": np.array([[0, 3], [1, 2]], np.float32)}, np.eye(2, 2), None, ("0", "1"))
    >>> Activation().scores(Subject.of(recording, 0, rows="all"))
    {'a': array([0.5, 2.5])}
    """

    name: str = "activation"

    def scores(self, subject: Subject) -> dict[str, np.ndarray]:
        """Mean over the inputs."""
        return {layer: subject.activations(layer).mean(axis=0) for layer in subject.layers}


@dataclass(frozen=True)
class Variance:
    """The variance of the activation within the inputs."""

    name: str = "variance"

    def scores(self, subject: Subject) -> dict[str, np.ndarray]:
        """Variance over the inputs."""
        return {layer: subject.activations(layer).var(axis=0) for layer in subject.layers}


@dataclass(frozen=True)
class Random:
    """Scores drawn at random, uniform on [0, 1); a layer's do not depend on which others are ranked with it."""

    seed: int = 0
    name: str = "random"

    def scores(self, subject: Subject) -> dict[str, np.ndarray]:
        """Draw the scores."""
        found = {}
        for layer in subject.layers:
            rng = np.random.default_rng([self.seed, zlib.crc32(layer.encode())])
            found[layer] = rng.random(size=(subject.recording.activations(layer).shape[1],))
        return found
