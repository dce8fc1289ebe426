"""The report on two networks: how their mechanisms correspond, and inputs that one or both separate."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from neucept.comparison.comparison import ELSEWHERE, Comparison
from neucept.errors import InputError
from neucept.inputs import Inputs
from neucept.mechanisms import wilson
from neucept.reports.components import Child, Html, badge, image, plot, statistics, table, tag, term, text
from neucept.reports.figures.comparison import colours, flow, heat_map
from neucept.reports.inputs import caption
from neucept.reports.phrases import between, join, number, p_value, percent

TILES = 8
_PARTS = 4  # of a mechanism that are shown
_SMALLEST = 0.05  # share of a mechanism's inputs from which a part of it is shown


def comparison_summary(comparison: Comparison, heading: str) -> Html:
    """Write the head of the report."""
    one, other = comparison.names
    value, low, high = comparison.agreement
    K, common, outputs = comparison.counts, int(comparison.common.sum()), comparison.outputs
    lead = (
        f"Both networks predict “{comparison.target_name}” for {number(common)} inputs: {one} by {K[0]} mechanisms,"
        f" {other} by {K[1]}, of which {len(comparison.matches)} match. The churn, the share of these inputs outside"
        f" matched mechanisms, is {percent(comparison.churn)}. Matching is one to one: where one network splits a"
        " mechanism of the other, only the matched part counts as unchanged."
    )
    alone = f"{' and '.join(number(len(rows)) for rows in comparison.only)} of one network alone"
    tiles: list[tuple[Child, str, str]] = [
        ("adjusted mutual information", f"{value:.2f}", f"{low:.2f} to {high:.2f}; 1 equal, 0 unrelated"),
        ("common inputs", number(common), alone),
    ]
    if "agreement" in outputs:
        tiles.append(("equal predictions", percent(outputs["agreement"]), f"of {number(outputs['inputs'])} inputs"))
    if "accuracy_a" in outputs:
        a, b = percent(outputs["accuracy_a"]), percent(outputs["accuracy_b"])
        tiles.append(("accuracy", a, f"of {one}; {b} of {other}"))
    if (sure := comparison.confidence) is not None:
        a, b = (percent(float(sure[comparison.labels[:, side] != ELSEWHERE, side].mean())) for side in (0, 1))
        tiles.append(("own confidence", a, f"of {one} in its predictions; {b} of {other}"))
    return tag(
        "header",
        tag("p", "NeuCEPT: two networks, mechanism by mechanism", class_="brand"),
        tag("h1", heading),
        tag("p", lead, class_="lead"),
        statistics(tiles),
        tag("p", _without_counterpart(comparison), class_="note"),
        id="summary",
    )


def _without_counterpart(comparison: Comparison) -> str:
    """Name the mechanisms of one network that the other lacks."""
    parts = [
        f"{name}'s {'mechanisms' if len(alone) > 1 else 'mechanism'} {join(list(map(str, alone)))}"
        for name, alone in zip(comparison.names, comparison.alone, strict=True)
        if alone
    ]
    if not parts:
        return "Every mechanism of either network overlaps one of the other network more than chance."
    several = len(parts) > 1 or sum(map(len, comparison.alone)) > 1
    verb = "overlap" if several else "overlaps"
    return f"{join(parts)} {verb} no mechanism of the other network more than chance."


def movements(comparison: Comparison) -> Html:
    """Draw how inputs are distributed over the mechanisms of both networks."""
    one, other = comparison.names
    moves = comparison.movements()
    cells: list[list[Child]] = [[str(name), *(number(v) for v in row)] for name, row in moves.iterrows()]
    panels = [
        tag("div", tag("h3", f"From {one} (left) to {other} (right)"), plot(flow(comparison), "Flow of the inputs")),
        tag("div", tag("h3", "Pairs of mechanisms"), plot(heat_map(comparison), "Jaccard index of each pair")),
    ]
    right = range(1, moves.shape[1] + 1)
    head = [tag("span", "from"), *(term("mechanism", str(name)) for name in moves.columns)]
    numbers = table(head, cells, "Number of inputs of each pair of mechanisms", right)
    note = f"Matched mechanisms share a colour; grey mechanisms of {other} have no match."
    return text(
        tag("p", note, class_="note"),
        tag("div", *panels, class_="panels"),
        tag("details", tag("summary", "Table"), numbers),
    )


def matches(comparison: Comparison) -> Html:
    """List all mechanisms with their matches."""
    rows: list[list[Child]] = []
    fills = dict(zip(comparison.names, colours(comparison), strict=True))
    other = {comparison.names[0]: comparison.names[1], comparison.names[1]: comparison.names[0]}
    for row in comparison.table().to_dict("records"):
        network, mechanism = row["network"], row["mechanism"]
        chip = tag("span", class_="chip", style=f"background:{fills[network][mechanism]}", aria_hidden="true")
        partner = f"{other[network]} {row['match']}" if row["match"] >= 0 else f"({other[network]} {row['nearest']})"
        rows.append(
            [
                tag("span", chip, f"{network} {mechanism}", class_="named"),
                number(row["inputs"]),
                *_right_and_sure(comparison, comparison.names.index(network), mechanism),
                partner,
                f"{row['jaccard']:.2f} ({row['low']:.2f} to {row['high']:.2f})",
                f"{row['repeated']:.2f}",
                p_value(row["p_corrected"]),
                percent(row["inside"]),
                badge(row["verdict"]),
            ]
        )
    known = _right_and_sure(comparison, 0, 0)
    head: list[Child] = ["mechanism", "inputs", *["labelled as the target", "own confidence"][: len(known)]]
    head += ["match", "Jaccard index", "found again", "corrected p", "in the nearest", "verdict"]
    note = (
        "In brackets: the nearest mechanism of the other network, where there is no match. A small p-value means that"
        " two mechanisms are related; the Jaccard index says how similar they are. Compare it with the index that a"
        " mechanism reaches when it is found again on other inputs of the same network."
    )
    n = len(known)
    numbers = [1, *range(2, 2 + n), *range(3 + n, 7 + n)]
    return text(tag("p", note, class_="note"), table(head, rows, "Mechanisms of both networks", numbers, stacked=True))


def _right_and_sure(comparison: Comparison, side: int, mechanism: int) -> list[Child]:
    """Give the share of a mechanism's inputs that are labelled as the target, beside its network's own confidence."""
    inside = comparison.labels[:, side] == mechanism
    n = int(inside.sum())
    if comparison.right is None:
        return []
    hits = int(comparison.right[inside].sum())
    share = between(hits / n, *wilson(hits, n)) if n else "–"
    sure = comparison.confidence
    return [share, *([] if sure is None else [percent(float(sure[inside, side].mean())) if n else "–"])]


class Groups:
    """Groups of inputs of a comparison, shown by their pictures and labels.

    Parameters
    ----------
    comparison : Comparison
        Of `neucept.compare`.
    data : any, optional
        The recorded inputs, in their order.
    """

    def __init__(self, comparison: Comparison, data: Any = None) -> None:
        self.comparison = comparison
        self.inputs, self.names = _read(data, int(comparison.rows.max()) + 1, comparison.outputs.get("inputs"))

    def shared(self, comparison: Comparison) -> Html | None:
        """Show inputs of matched mechanisms."""
        one, other = comparison.names
        blocks = [
            self._card(
                f"{one} {i} and {other} {j}",
                [("", (comparison.labels == (i, j)).all(axis=1))],
                f"Jaccard index {comparison.jaccard[i, j]:.2f}",
            )
            for i, j in sorted(comparison.matches, key=lambda pair: -comparison.contingency[pair])
        ]
        note = "Inputs in matched mechanisms of both networks, those most typical of both first."
        return text(tag("p", note, class_="note"), *blocks) if blocks else None

    def divided(self, comparison: Comparison) -> Html | None:
        """Show mechanisms of one network that the other splits."""
        blocks = []
        for side in (1, 0):
            for k in range(comparison.counts[side]):
                parts = self._parts(side, k)
                if len(parts) > 1:
                    divides = comparison.names[1 - side]
                    blocks.append(self._card(f"{comparison.names[side]} {k}, divided by {divides}", parts))
        note = (
            "A mechanism of one network, split by the mechanisms of the other. Shown are parts of at least"
            f" {_SMALLEST:.0%} whose overlap is larger than chance, the largest first."
        )
        return text(tag("p", note, class_="note"), *blocks) if blocks else None

    def _parts(self, side: int, k: int) -> list[tuple[str, np.ndarray]]:
        labels = self.comparison.labels
        both = self.comparison.contingency, self.comparison.related
        overlap, related = (part[k] if side == 0 else part[:, k] for part in both)
        large = [int(j) for j in np.argsort(-overlap, kind="stable") if overlap[j] >= _SMALLEST * overlap.sum()]
        name, inside = self.comparison.names[1 - side], labels[:, side] == k
        return [(f"{name} {j}", inside & (labels[:, 1 - side] == j)) for j in large if related[j]][:_PARTS]

    def exclusive(self, comparison: Comparison) -> Html | None:
        """Show inputs that one network alone predicts as the class."""
        labels, blocks = comparison.labels, []
        for side, name in enumerate(comparison.names):
            alone = labels[:, 1 - side] == ELSEWHERE
            if alone.any():
                parts = [(f"{name} {k}", alone & (labels[:, side] == k)) for k in range(comparison.counts[side])]
                parts = sorted((p for p in parts if p[1].any()), key=lambda part: -part[1].sum())[:_PARTS]
                blocks.append(self._card(f"{name} alone: {_count(alone)}", parts, note=self._labelled(alone)))
        return text(*blocks) if blocks else None

    def _labelled(self, mask: np.ndarray) -> str | None:
        known = self.comparison.right
        if known is None:
            return None
        hits = int(known[mask].sum())
        share = between(hits / int(mask.sum()), *wilson(hits, int(mask.sum())))
        return f"{share} of them are labelled “{self.comparison.target_name}”."

    def _card(
        self, heading: str, parts: list[tuple[str, np.ndarray]], small: str | None = None, note: str | None = None
    ) -> Html:
        blocks = [
            tag(
                "div",
                tag("h4", f"{name} " if name else None, tag("small", f"{_count(mask)}{self._composition(mask)}")),
                self._tiles(mask),
            )
            for name, mask in parts
        ]
        top = tag("header", tag("h3", heading), tag("span", small, class_="small") if small else None)
        return tag("article", top, tag("p", note, class_="small") if note else None, *blocks, class_="card")

    def _composition(self, mask: np.ndarray) -> str:
        """Name the most common labels of some inputs."""
        if self.names is None:
            return ""
        rows = self.comparison.rows[mask]
        common = Counter(self.names[row] for row in rows).most_common(4)
        return ": " + ", ".join(f"{name} {percent(count / len(rows), 0)}" for name, count in common)

    def _tiles(self, mask: np.ndarray) -> Html | None:
        if self.inputs is None:
            return None
        typical = np.where(self.comparison.labels[mask] >= 0, self.comparison.typicality[mask], 1.0).min(axis=1)
        tiles = []
        positions = np.flatnonzero(mask)[np.argsort(-typical, kind="stable")[:TILES]]
        for position in positions.tolist():
            row = int(self.comparison.rows[position])
            name, label = self.inputs.name(row), self.names[row] if self.names is not None else ""
            words, sure = self._sure(position)
            said = ", ".join(filter(None, [name, f"labelled {label}" if label else "", words]))
            picture = self.inputs.picture(row)
            assert picture is not None  # all inputs are alike
            tiles.append(tag("figure", image(picture, said), caption(name, label, sure), class_="tile", title=said))
        return tag("div", *tiles, class_="tiles")

    def _sure(self, position: int) -> tuple[str, str]:
        """Say how sure either network is of the target, in words and briefly."""
        if self.comparison.confidence is None:
            return "", ""
        both = [percent(float(sure), 0) for sure in self.comparison.confidence[position]]
        return f"{join([f'{n} {s}' for n, s in zip(self.comparison.names, both, strict=True)])} sure", " / ".join(both)


def _read(data: Any, least: int, recorded: float | None) -> tuple[Inputs | None, list[str] | None]:
    """Read images and names of labels; without recordings, only a lower bound of the number of inputs is known."""
    if data is None:
        return None, None
    inputs = Inputs.of(data)
    if inputs.dataset is None or inputs.n is None or inputs.n < least or (recorded and inputs.n != int(recorded)):
        expected = f"{recorded:.0f} were compared" if recorded else f"the comparison refers to input {least - 1}"
        raise InputError(f"data has {inputs.n} inputs, but {expected}. Give the recorded inputs.")
    names, labels = inputs.class_names or (), inputs.labels
    images = inputs if inputs.picture(0) is not None else None
    if labels is None or labels.ndim != 1:
        return images, None
    return images, [names[i] if 0 <= i < len(names) else str(i) for i in labels.tolist()]


def _count(mask: np.ndarray) -> str:
    count = int(mask.sum())
    return f"{number(count)} {'input' if count == 1 else 'inputs'}"
