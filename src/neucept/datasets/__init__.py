"""Pictures with labels, from the formats in which people keep them."""

from neucept.datasets.digits import load_digits
from neucept.datasets.images import ImageDataset, Scaling
from neucept.datasets.loading import load_data
from neucept.datasets.sampling import stratified_sample, stratified_split

__all__ = ["ImageDataset", "Scaling", "load_data", "load_digits", "stratified_sample", "stratified_split"]
