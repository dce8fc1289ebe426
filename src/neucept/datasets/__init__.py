"""Pictures with labels, from the formats in which people keep them."""

from neucept.datasets.images import DataSource, ImageDataset, Scaling
from neucept.datasets.labels import stratified_sample, stratified_split
from neucept.datasets.loading import load_data, load_digits

__all__ = [
    "DataSource",
    "ImageDataset",
    "Scaling",
    "load_data",
    "load_digits",
    "stratified_sample",
    "stratified_split",
]
