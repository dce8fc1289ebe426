"""The summary, the map of the inputs, the neurons that separate mechanisms, and the guide to their number."""

from __future__ import annotations

from collections import Counter

import numpy as np

from neucept.mechanisms.n_clusters import ALPHA
from neucept.reports import figures, phrases
from neucept.reports.components import mechanism_name, plot, section
from neucept.reports.embedding import embed
from neucept.reports.html import Child, Html, table, tag
from neucept.reports.material import Material
from neucept.reports.selected import is_grouped

_USE = " Drag to zoom in, double-click to see all again; names in the legend switch groups off and on."
_LABELS = 12  # colours of the map by label; the others are joined


def summary(material: Material) -> Html:
    """Write the page's head: what a person takes away in twenty seconds."""
    worst = phrases.least_reliable(material)
    lead = [phrases.about_inputs(material), phrases.about_number(material)]
    reliability = phrases.about_reliability(material)
    caution = phrases.about_stability(material)
    return tag(
        "header",
        tag("p", "NeuCEPT: critical neurons and mechanisms", class_="brand"),
        tag("h1", phrases.title(material)),
        tag("p", " ".join(lead), class_="lead"),
        tag("p", reliability, class_="finding bad" if worst else "finding") if reliability else None,
        _tiles(material),
        tag(
            "p",
            " ".join(filter(None, (caution, phrases.about_neurons(material), phrases.about_use(material)))),
            class_="note",
        ),
        id="summary",
    )


def _tiles(material: Material) -> Html:
    mechanisms, guide = material.mechanisms, material.guide
    selections = material.critical.values()
    grouped = [is_grouped(selection) for selection in selections]
    units = "neurons" if not any(grouped) else "groups" if all(grouped) else "neurons or groups"
    chosen = sum(len(s.neurons) for s in selections)
    total = sum(len(s.representatives if is_grouped(s) else s.groups) for s in selections)
    layers = "one layer" if len(selections) == 1 else f"{len(selections)} layers"
    one = f"one is {'not ' if guide.p_one > ALPHA else ''}ruled out, {phrases.p_value(guide.p_one)}"
    tiles = [
        (
            "inputs looked at",
            phrases.number(len(material.rows)),
            f"of {phrases.number(len(material.recording))} recorded",
        ),
        ("mechanisms", str(len(mechanisms)), one),
        (f"critical {units}", phrases.number(chosen), f"of {phrases.number(total)}, at {layers}"),
    ]
    if material.overall is not None:
        share, low, high = material.overall
        name = "precision" if material.are_predictions else "labelled as the target"
        tiles.insert(1, (name, phrases.percent(share), f"{low:.1%} to {high:.1%}"))
    worst = phrases.least_reliable(material)
    if worst is not None:
        tiles.append(
            (
                f"in mechanism {worst[0]}",
                phrases.percent(worst[1].precision),
                f"{worst[1].low:.1%} to {worst[1].high:.1%}",
            )
        )
    return tag("dl", *(tag("div", tag("dt", n), tag("dd", v, tag("small", d))) for n, v, d in tiles), class_="stats")


def map_section(material: Material, seed: int = 0) -> Html:
    """Show the inputs in the plane, by mechanism and by label."""
    mechanisms = material.mechanisms
    embedding = embed(mechanisms.scaled, seed)
    positions = embedding.positions
    rows = material.rows[positions]
    labels = mechanisms.labels[positions]
    names = material.label_names(rows)
    predicted = [material.recording.class_names[p] for p in material.recording.predictions[rows]]
    hover = np.array(
        [
            f"input {row}<br>mechanism {label}<br>predicted {_safe(guess)}"
            + (f"<br>labelled {_safe(name)}" if name else "")
            + f"<br>typicality {typicality:.2f}"
            for row, label, guess, name, typicality in zip(
                rows, labels, predicted, names, mechanisms.typicality[positions], strict=True
            )
        ]
    )
    kinds = [f"mechanism {number}" for number in range(len(mechanisms))]
    maps = [("by mechanism", labels, kinds)]
    if any(names):
        common = [name for name, _ in Counter(names).most_common(_LABELS)]
        groups = np.array([common.index(name) if name in common else -1 for name in names])
        maps.append(("by label", groups, [_safe(phrases.shorten(name, 28)) for name in common]))
    panels = [
        tag(
            "div",
            tag("h3", f"Coloured {title}"),
            plot(
                figures.input_map(embedding.coordinates, groups, names, hover, embedding.axes),
                f"Map of {len(rows)} inputs coloured {title}",
                "map",
            ),
        )
        for title, groups, names in maps
    ]
    sprite = _sprite(material, rows)
    return section(
        "map",
        "Map of the inputs",
        tag("p", embedding.words + _USE, class_="note"),
        tag("div", *panels, class_="panels"),
        sprite,
    )


def _sprite(material: Material, rows: np.ndarray) -> Html | None:
    """Thumbnails for the map, shown by the page's script beside the pointer."""
    if material.pictures is None:
        return None
    uri, line = material.pictures.sprite([int(row) for row in rows])
    return tag("div", id="sprite", hidden=True, data_line=line, style=f"background-image:url({uri})")


def separation_section(material: Material) -> Html | None:
    """Draw histograms of the neurons that separate mechanisms best (Figure 12); None with one mechanism."""
    found = figures.separating_neurons(material.mechanisms)
    if not found:
        return None
    mechanisms = material.mechanisms
    everything = mechanisms.read(material.recording)
    panels = []
    for feature, a, b, distance in found:
        one, other = (mechanisms.values[mechanisms.labels == n, feature] for n in (a, b))
        figure = figures.neuron_histogram(everything[:, feature], one, other, (a, b))
        figure.update_layout(showlegend=False, margin={"t": 10})
        name = mechanisms.features[feature].name
        panels.append(
            tag(
                "div",
                tag("h3", name),
                plot(figure, f"Activation of {name} in mechanisms {a} and {b} and in all inputs"),
                tag(
                    "p", mechanism_name(a), mechanism_name(b), f"{distance:.1f} deviations apart", class_="small legend"
                ),
            )
        )
    note = (
        "Each neuron with the two mechanisms that it separates best (bars), and all recorded inputs, whatever they are"
        " predicted as (line)."
    )
    return section(
        "separation",
        "Neurons that separate mechanisms",
        tag("p", note, class_="note"),
        tag("div", *panels, class_="panels three"),
    )


def guide_section(material: Material) -> Html:
    """Show the guide to the number of mechanisms."""
    guide, used = material.guide, len(material.mechanisms)
    test = (
        "The test looks for a direction along which the inputs have more than one mode (Hartigan's dip test, directions"
        " found on one half and judged on the other)."
    )
    read = {
        "stability": "Agreement of clusters found on two halves, 1 at best; the band is the middle 90%, the line 0.6.",
        "silhouette": "How much nearer inputs are to their own cluster than to the next; higher is better.",
        "bic": "Of a Gaussian mixture; lower is better.",
    }
    panels = [
        tag(
            "div",
            tag("h3", figures.CURVES[column].capitalize() if column != "bic" else "BIC"),
            plot(figures.guide_curve(guide, column, used), f"{figures.CURVES[column]} over the number of mechanisms"),
            tag("p", why, class_="small"),
        )
        for column, why in read.items()
    ]
    cells: list[list[Child]] = [
        [str(K), f"{stability:.2f}", "–" if np.isnan(silhouette) else f"{silhouette:.2f}", f"{bic:,.0f}"]
        for K, stability, silhouette, bic in guide.table[["mechanisms", *figures.CURVES]].itertuples(index=False)
    ]
    numbers = tag(
        "details",
        tag("summary", "The numbers"),
        table(["mechanisms", "stability", "silhouette", "BIC"], cells, "Guide to the number of mechanisms", range(4)),
    )
    verdict = tag("p", tag("strong", str(guide)), f" The page shows {used} (ringed). {test}")
    return section("number", "How many mechanisms?", verdict, tag("div", *panels, class_="panels three"), numbers)


def _safe(name: str) -> str:
    """Escape what the user named: Plotly reads a little HTML in its texts."""
    return name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
