"""Cards of the page of two networks: inputs that both, or one alone, tell apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from neucept.comparison.comparison import ELSEWHERE, Comparison
from neucept.mechanisms import wilson
from neucept.reports.components import image, section
from neucept.reports.html import Html, tag
from neucept.reports.phrases import between, number, percent
from neucept.reports.pictures import Pictures

TILES = 8
_PARTS = 4  # of a mechanism that are shown
_SMALLEST = 0.05  # share of a mechanism's inputs from which a part of it is shown


class Shown:
    """Groups of inputs, shown by their pictures and labels."""

    def __init__(self, comparison: Comparison, pictures: Pictures | None, names: Sequence[str] | None) -> None:
        self.comparison, self.pictures, self.names = comparison, pictures, names

    def together(self) -> Html | None:
        """Show inputs of matched mechanisms."""
        one, other = self.comparison.names
        labels = self.comparison.labels
        blocks = [
            self._card(
                f"{one} {i} and {other} {j}",
                [("", (labels == (i, j)).all(axis=1))],
                self.comparison.jaccard[i, j],
            )
            for i, j in sorted(self.comparison.matches, key=lambda pair: -self.comparison.contingency[pair])
        ]
        if not blocks:
            return None
        note = "Inputs that lie in matched mechanisms of both networks, the most typical of both first."
        return section("together", "What both tell apart", tag("p", note, class_="note"), *blocks)

    def apart(self) -> Html | None:
        """Show mechanisms of one network that the other divides."""
        blocks = []
        for side in (1, 0):
            for k in range(self.comparison.counts[side]):
                parts = self._parts(side, k)
                if len(parts) > 1:
                    divides = self.comparison.names[1 - side]
                    blocks.append(self._card(f"{self.comparison.names[side]} {k}, divided by {divides}", parts))
        if not blocks:
            return None
        note = (
            f"A mechanism of one network, in the parts into which the other's mechanisms divide it; parts of at least"
            f" {_SMALLEST:.0%} whose overlap is beyond chance are shown, the largest first."
        )
        return section("apart", "What one alone tells apart", tag("p", note, class_="note"), *blocks)

    def _parts(self, side: int, k: int) -> list[tuple[str, np.ndarray]]:
        labels = self.comparison.labels
        both = self.comparison.contingency, self.comparison.related
        overlap, related = (part[k] if side == 0 else part[:, k] for part in both)
        shown = [int(j) for j in np.argsort(-overlap, kind="stable") if overlap[j] >= _SMALLEST * overlap.sum()]
        name = self.comparison.names[1 - side]
        mine = labels[:, side] == k
        return [(f"{name} {j}", mine & (labels[:, 1 - side] == j)) for j in shown if related[j]][:_PARTS]

    def only(self) -> Html | None:
        """Show inputs that one network alone predicts as the class."""
        labels = self.comparison.labels
        blocks = []
        for side, name in enumerate(self.comparison.names):
            mine = labels[:, 1 - side] == ELSEWHERE
            if mine.any():
                parts = [(f"{name} {k}", mine & (labels[:, side] == k)) for k in range(self.comparison.counts[side])]
                parts = sorted((p for p in parts if p[1].any()), key=lambda part: -part[1].sum())[:_PARTS]
                blocks.append(self._card(f"{name} alone: {_inputs(mine)}", parts, right=self._right(mine)))
        if not blocks:
            return None
        return section("only", "Predicted by one alone", *blocks)

    def _right(self, mask: np.ndarray) -> str | None:
        known = self.comparison.right
        if known is None:
            return None
        hits = int(known[mask].sum())
        share = between(hits / int(mask.sum()), *wilson(hits, int(mask.sum())))
        return f"{share} of them are labelled “{self.comparison.target_name}”."

    def _card(
        self, heading: str, parts: list[tuple[str, np.ndarray]], index: float | None = None, right: str | None = None
    ) -> Html:
        said = None if index is None else f"Jaccard index {index:.2f}"
        blocks = [
            tag(
                "div",
                tag("h4", f"{name} " if name else None, tag("small", f"{_inputs(mask)}{self._made_of(mask)}")),
                self._tiles(mask),
            )
            for name, mask in parts
        ]
        top = tag("header", tag("h3", heading), tag("span", said, class_="small") if said else None)
        return tag("article", top, tag("p", right, class_="small") if right else None, *blocks, class_="card")

    def _made_of(self, mask: np.ndarray) -> str:
        """Name the commonest labels of some inputs."""
        if self.names is None:
            return ""
        rows = self.comparison.rows[mask]
        counted = Counter(self.names[row] for row in rows).most_common(4)
        return ": " + ", ".join(f"{name} {percent(count / len(rows), 0)}" for name, count in counted)

    def _tiles(self, mask: np.ndarray) -> Html | None:
        if self.pictures is None:
            return None
        seen = np.where(self.comparison.labels[mask] >= 0, self.comparison.typicality[mask], 1.0).min(axis=1)
        rows = self.comparison.rows[mask][np.argsort(-seen, kind="stable")[:TILES]]
        return tag("div", *(self._tile(int(row)) for row in rows), class_="tiles")

    def _tile(self, row: int) -> Html:
        assert self.pictures is not None
        label = self.names[row] if self.names is not None else ""
        words = f"input {row}" + (f", labelled {label}" if label else "")
        caption = tag("figcaption", tag("b", label) if label else None, " ", tag("span", f"#{row}", class_="row"))
        return tag("figure", image(*self.pictures.thumbnail(row), words), caption, class_="tile", title=words)


def _inputs(mask: np.ndarray) -> str:
    count = int(mask.sum())
    return f"{number(count)} {'input' if count == 1 else 'inputs'}"
