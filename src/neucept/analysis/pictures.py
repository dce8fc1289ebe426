"""Pictures of the inputs that a report shows, as arrays of bytes, and where they are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from torch.nn.functional import interpolate

from neucept.datasets import Scaling
from neucept.errors import InputError
from neucept.inputs import Batch, Inputs
from neucept.short_repr import ShortRepr

ICON = 32  # pixels of a side


@dataclass(frozen=True, eq=False, repr=False)
class Pictures(ShortRepr):
    """Pictures of some inputs, each (H, W) or (H, W, 3) of uint8.

    Attributes
    ----------
    whole : mapping of int to array
        By row of the recording: the input as a person sees it.
    seen : mapping of int to array
        With the edges that the network saw, where a transform may have cut some off; only where boxes refer to them.
    icons : array
        (m, 32, 32, 3) of the inputs on the map, in its order.
    means : array or None
        (K, H, W) or (K, H, W, 3): mean of the most typical inputs of each mechanism, behind its mean pathway gradient.
    """

    whole: Mapping[int, np.ndarray]
    seen: Mapping[int, np.ndarray]
    icons: np.ndarray
    means: np.ndarray | None = None

    def arrays(self) -> dict[str, np.ndarray | None]:
        """Give the pictures as few arrays, by name."""
        packed: dict[str, np.ndarray | None] = {"icons": self.icons, "mean inputs": self.means}
        for name in ("whole", "seen"):
            some: Mapping[int, np.ndarray] = getattr(self, name)
            shapes = [(row, *picture.shape, *[0] * (3 - picture.ndim)) for row, picture in some.items()]
            packed[f"{name} shapes"] = np.array(shapes, np.int64).reshape(-1, 4)
            packed[f"{name} pixels"] = np.concatenate([np.empty(0, np.uint8), *(p.ravel() for p in some.values())])
        return packed

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Pictures | None:
        """Put pictures together from `arrays`; None where there are none."""
        if "icons" not in arrays:
            return None
        parts = {}
        for name in ("whole", "seen"):
            shapes, pixels = arrays[f"{name} shapes"], arrays[f"{name} pixels"]
            ends = np.cumsum([np.prod(shape[shape > 0]) for shape in shapes[:, 1:]]).astype(int)
            cut = np.split(pixels, ends[:-1]) if len(ends) else []
            parts[name] = {
                int(row): flat.reshape([side for side in shape if side])
                for (row, *shape), flat in zip(shapes.tolist(), cut, strict=True)
            }
        return cls(**parts, icons=arrays["icons"], means=arrays.get("mean inputs"))


def collect(
    inputs: Inputs, whole: Iterable[int], seen: Iterable[int], icons: Iterable[int], means: Sequence[np.ndarray] = ()
) -> Pictures | None:
    """Read the pictures of some rows; None where the inputs are no images.

    Parameters
    ----------
    inputs : Inputs
        Of the recording.
    whole, seen, icons : iterable of int
        Rows, see `Pictures`.
    means : sequence of array
        Rows whose mean is one picture.
    """
    if inputs.picture(0) is None:
        return None

    def picture(row: int) -> np.ndarray:
        drawn = inputs.picture(row)
        assert drawn is not None  # all inputs are alike
        return drawn

    transform = getattr(inputs.dataset, "transform", None)
    cut_off = hasattr(inputs.dataset, "picture") and transform is not None and not isinstance(transform, Scaling)
    small = [_icon(picture(row)) for row in icons]
    averages = [_picture(inputs[rows].map(lambda tensor: tensor.float().mean(0, keepdim=True))) for rows in means]
    return Pictures(
        whole={row: picture(row) for row in whole},
        seen={row: _picture(inputs[[row]]) if cut_off else picture(row) for row in seen},
        icons=np.stack(small) if small else np.empty((0, ICON, ICON, 3), np.uint8),
        means=np.stack(averages) if averages else None,
    )


def _picture(batch: Batch) -> np.ndarray:
    """Draw a batch of one input as the network takes it, scaled from its smallest to its largest value."""
    drawn = Inputs.of(batch.tree).picture(0)
    if drawn is None:
        raise InputError("The data have pictures, but the network takes no images from them; give data= without these.")
    return drawn


def _icon(picture: np.ndarray) -> np.ndarray:
    """Reduce a picture to (32, 32, 3)."""
    pixels = torch.from_numpy(np.array(picture))
    pixels = pixels.expand(3, *pixels.shape) if pixels.ndim == 2 else pixels.permute(2, 0, 1)
    small = interpolate(pixels[None].float(), (ICON, ICON), mode="bicubic", antialias=True, align_corners=False)
    return np.asarray(small[0].round().clamp(0, 255).permute(1, 2, 0).to(torch.uint8).numpy())


MOST = 2000  # inputs on a map
FEW = 50, 800  # inputs for which t-SNE is worth its time


@dataclass(frozen=True, eq=False, repr=False)
class Embedding(ShortRepr):
    """Some inputs in the plane.

    Attributes
    ----------
    positions : array
        (m,) which rows were taken, ascending.
    coordinates : array
        (m, 2).
    method : str
        ``t-SNE``, ``PCA``, or ``jitter`` for a single neuron: its activation, spread at random along the other axis.
    explained : tuple of float
        Share of the variance that each axis explains, for ``PCA``.
    n, n_features : int
        How many inputs there were, and neurons.
    """

    positions: np.ndarray
    coordinates: np.ndarray
    method: str
    explained: tuple[float, ...]
    n: int
    n_features: int

    def facts(self) -> dict[str, Any]:
        """All but the arrays, for JSON."""
        return {name: getattr(self, name) for name in ("method", "explained", "n", "n_features")}

    def arrays(self) -> dict[str, np.ndarray]:
        """Give the arrays by name."""
        return {"map positions": self.positions, "map coordinates": self.coordinates}

    @classmethod
    def of(cls, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Embedding:
        """Put an embedding together from `facts` and `arrays`."""
        fields: dict[str, Any] = {**facts, "explained": tuple(facts["explained"])}
        return cls(positions=arrays["map positions"], coordinates=arrays["map coordinates"], **fields)


def embed(V: np.ndarray, seed: int = 0, most: int = MOST) -> Embedding:
    """Embed inputs in the plane: t-SNE for 50 to 800 of them, principal components otherwise.

    Parameters
    ----------
    V : array
        (n, f) scaled neurons.
    seed : int
        Seed for the sample and for t-SNE.
    most : int
        Number of inputs to embed; of more, a random sample is taken.

    Examples
    --------
    >>> embed(np.random.default_rng(0).normal(size=(30, 4))).coordinates.shape
    (30, 2)
    """
    n, f = V.shape
    positions = np.arange(n)
    if n > most:
        positions = np.sort(np.random.default_rng(seed).choice(n, most, replace=False))
    sample = V[positions]
    explained: tuple[float, ...] = ()
    if FEW[0] <= n <= FEW[1] and f > 2:
        method = "t-SNE"
        coordinates = TSNE(perplexity=min(30, n / 4), init="pca", max_iter=500, random_state=seed).fit_transform(sample)
    elif f == 1:
        method = "jitter"
        noise = np.random.default_rng(seed).uniform(-1, 1, len(sample))
        coordinates = np.stack([sample[:, 0], noise], axis=1)
    else:
        method = "PCA"
        pca = PCA(min(2, n), random_state=seed).fit(V)
        explained = tuple(map(float, pca.explained_variance_ratio_))
        coordinates = pca.transform(sample)
    return Embedding(positions, coordinates, method, explained, n, f)
