"""Tell what restores the precision: docs/remedies.md."""

from __future__ import annotations

from claims import table
from remedies import QS
from template import Template


def tell(results: dict[str, dict[str, list[float]]]) -> str:
    rows = []
    for key, cell in results.items():
        for name in dict.fromkeys(name.rsplit(" | ", 1)[0] for name in cell):
            row = [key.replace(" | ", ", "), name]
            for q in QS:
                fdr, half, power = cell[f"{name} | {q}"]
                row += [f"{fdr:.3f} ± {half:.3f}", f"{power:.2f}"]
            rows.append(row)
    head = ["layer", "remedy", *(words for q in QS for words in (f"FDR at {q}", "power"))]
    return Template("remedies").fill(table=table(head, rows))
