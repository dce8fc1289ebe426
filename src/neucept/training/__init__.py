"""Training of classifiers: plain, resumable, and from prior knowledge."""

from neucept.training.loop import accuracy, flip_and_shift, train
from neucept.training.prior import PriorTraining, train_with_prior, transfer

__all__ = ["PriorTraining", "accuracy", "flip_and_shift", "train", "train_with_prior", "transfer"]
