"""Pictures with labels, from the formats in which people keep them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neucept.lazy import lazy

if TYPE_CHECKING:
    from neucept.datasets.images import DataSource, ImageDataset, UnlabelledImages
    from neucept.datasets.labels import stratified_sample, stratified_split
    from neucept.datasets.loading import load_data, load_digits
    from neucept.datasets.tensors import Scaling

__all__ = [
    "DataSource",
    "ImageDataset",
    "Scaling",
    "UnlabelledImages",
    "load_data",
    "load_digits",
    "stratified_sample",
    "stratified_split",
]
__getattr__, __dir__ = lazy(
    __name__,
    {
        "neucept.datasets.images": ("DataSource", "ImageDataset", "UnlabelledImages"),
        "neucept.datasets.labels": ("stratified_sample", "stratified_split"),
        "neucept.datasets.loading": ("load_data", "load_digits"),
        "neucept.datasets.tensors": ("Scaling",),
    },
)
