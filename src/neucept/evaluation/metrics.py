"""How well mechanisms agree with labels that the network was not told."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neucept.errors import InputError


def cluster_entropy(prior_labels: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Measure the clusters' entropy CE of the paper (Section 4): the conditional entropy of the prior label.

    ``sum over clusters c and prior labels y of p(y, c) log2(1 / p(y | c))``

    Parameters
    ----------
    prior_labels : array-like
        (n,) labels of the more informative data, such as digits.
    labels : array-like
        (n,) cluster of each input.

    Returns
    -------
    float
        Bits; 0 when every cluster holds one prior label. It falls with the number of clusters by itself.

    Raises
    ------
    InputError
        For no inputs, or unequal numbers of the two.

    Examples
    --------
    Two clusters of two: the first holds one label, the second two equally often, (2/4) * 0 + (2/4) * 1 bit.

    >>> cluster_entropy([3, 3, 5, 7], [0, 0, 1, 1])
    0.5
    """
    prior, clusters = np.asarray(prior_labels).ravel(), np.asarray(labels).ravel()
    if len(prior) != len(clusters) or not len(prior):
        raise InputError(
            f"{len(prior)} prior labels and {len(clusters)} clusters; expected as many of both, at least one."
        )
    _, y = np.unique(prior, return_inverse=True)
    _, c = np.unique(clusters, return_inverse=True)
    joint = np.zeros((c.max() + 1, y.max() + 1))
    np.add.at(joint, (c, y), 1 / len(y))
    conditional = joint / joint.sum(axis=1, keepdims=True)
    there = joint > 0
    return float(-(joint[there] * np.log2(conditional[there])).sum()) + 0.0
