"""Pictures of mechanisms."""

from __future__ import annotations

from typing import Any

from neucept.datasets import ImageDataset

COLOURS = ("#0072B2", "#D55E00", "#009E73")


def pictures_in(row: Any, data: ImageDataset, indices: list[int], right: list[int], words: str) -> None:
    """Show pictures in a row of axes, those that are not of the class in a red frame."""
    for axis in row:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set_visible(False)
    for axis, index, good in zip(row, indices, right, strict=False):
        axis.imshow(data.picture(index), cmap="gray")
        if not good:
            axis.spines[:].set(visible=True, color="#D00000", linewidth=2.5)
    row[0].set_ylabel(words, rotation=0, ha="right", va="center", fontsize=8.5)
