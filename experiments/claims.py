"""Claims as data: what is claimed, who says it, what was measured, and whether the claim holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

YES, PARTLY, NO, NOT_IN_THE_PAPER = "yes", "partly", "no", "not in the paper"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One row of the table at the head of the results page.

    Attributes
    ----------
    what : str
        The claim, in a dozen words.
    source : str
        The figure, table or section of the paper that makes it, such as "Figure 7".
    value : str
        The measurement that decides, with its interval and the number of networks or images.
    holds : str
        "yes", "partly", "no", or "not in the paper" for a measurement that the paper does not make.
    """

    what: str
    source: str
    value: str
    holds: str

    def __post_init__(self) -> None:
        if self.holds not in (YES, PARTLY, NO, NOT_IN_THE_PAPER):
            raise ValueError(f"holds={self.holds!r}: expected yes, partly, no or not in the paper")

    def row(self, anchor: str) -> list[str]:
        """Return the cells of the table; the source links to its section."""
        return [f"[{self.source}](#{anchor})", self.what, self.value, self.holds]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table.

    >>> print(table(["layer", "CE"], [["conv3", "0.59"]]))
    | layer | CE |
    | --- | --- |
    | conv3 | 0.59 |
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def counted(n: int, noun: str) -> str:
    """Return a number and its noun: "1 network", "10 networks"."""
    return f"{n} {noun}{'s' * (n != 1)}"
