"""How much of the response do the selected neurons carry? The companion of precision.

`sufficiency` makes the table; `held_out_r2`, by which it judges, is to be had from here for neurons of one's own
choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import pandas as pd
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from neucept.discovery import CriticalNeurons, Selection
from neucept.discovery.orders import Aim, Linear
from neucept.discovery.selection import neurons_by_layer
from neucept.errors import InputError, check_kind, check_whole
from neucept.evaluation.carried import Carrying
from neucept.inputs import Inputs
from neucept.knockoffs.preprocessing import alive, standardised
from neucept.progress import progress as show_progress
from neucept.recording import Recording
from neucept.recording.hooks import check_model, left_as_found
from neucept.recording.intervention import Rest, agreement, can_replace, numbers_of, rest_of
from neucept.recording.outputs import Output
from neucept.recording.recording import Target

__all__ = ["held_out_r2", "sufficiency"]

MOST_INPUTS = 2000  # for the fits
MOST_PREDICTED = 400  # for the network: a share of them is known to about 2%


def held_out_r2(Z: np.ndarray, y: np.ndarray, nonlinear: bool, seed: int = 0) -> float:
    """Share of the variance of y that neurons predict on inputs not fitted on (five folds).

    Parameters
    ----------
    Z : array
        (n, k) neurons; with k = 0 the answer is 0.
    y : array
        (n,) response. The answer for a constant one is NaN.
    nonlinear : bool
        Ridge regression on 300 Gaussian kernel features instead of on the neurons themselves.
    seed : int
        Of the folds.

    Examples
    --------
    >>> from neucept.evaluation.sufficiency import held_out_r2
    >>> Z = np.random.default_rng(0).normal(size=(500, 2))
    >>> [round(held_out_r2(part, Z[:, 0] - Z[:, 1], nonlinear=False), 2) for part in (Z, Z[:, :1])]
    [1.0, 0.5]
    """
    if not standardised(y).any():
        return float("nan")
    if Z.shape[1] == 0:
        return 0.0
    steps = [StandardScaler(), RidgeCV(np.logspace(-4, 4, 9))]
    if nonlinear:
        most = min(300, len(Z) // 2)
        steps.insert(1, Nystroem(gamma=0.5 / Z.shape[1], n_components=most, random_state=seed))
    regressor = make_pipeline(*steps)
    predicted = cross_val_predict(regressor, Z, y, cv=KFold(5, shuffle=True, random_state=seed))
    return float(1 - np.mean((y - predicted) ** 2) / y.var())


def sufficiency(
    recording: Recording,
    critical: CriticalNeurons | pd.DataFrame | Mapping[str, Any] | np.ndarray | Sequence[int],
    model: nn.Module | None = None,
    data: Any = None,
    top: int = 10,
    output: Output = None,
    target: Target | None = None,
    seed: int = 0,
    progress: bool = True,
    counts: Sequence[int] | None = None,
    beside: Mapping[str, Any] | None = None,
    gates: bool = False,
) -> pd.DataFrame:
    """Measure how much of the response the selected neurons carry, beside others: two sufficiencies.

    By *information*: what a fit predicts of the response from these neurons (R²). By *intervention*: which predictions
    the network keeps with these neurons alone, all others taken from another input or held at a constant. The two
    differ: the network reads every copy of what a fit needs once.

    Precision says little where a network computes its response from nearly all neurons: beside it stands how far the
    selection alone goes. The neurons were chosen on these inputs, only the fits are held out: where inputs are few
    beside neurons, the R² of the first two rows flatters them (of pure noise, the first ten of 200 neurons reach some
    tenths on 60 inputs, of 100 neurons a hundredth on 1,000).

    Parameters
    ----------
    recording : Recording
        Of `neucept.record`.
    critical : CriticalNeurons, DataFrame, mapping or array
        Of `neucept.discover` for one target; or any ranking of neurons: the rows of one method of
        `neucept.rankings.rank`, or {layer: neurons}, most important first, with ``target``.
    model, data : Module and data of any kind, optional
        The recorded ones, see `neucept.inputs.Inputs.of`. With both, the network also predicts with the other neurons
        replaced.
    top : int
        Size of the set of first-ranked neurons, and of the random ones.
    output : None, str, int or callable
        As in `neucept.record`; that of the recording by default.
    target : int, str or array, optional
        The class of a ranking; or (n,) the response, where neurons were discovered for an array.
    seed : int
        Of folds, random neurons and replacements.
    progress : bool
        Show progress when it takes more than two seconds.
    counts : sequence of int, optional
        Numbers of first neurons, for which other orders stand beside: by default 5, 10, 20, 50, 100, ... up to half of
        the layer. An empty sequence leaves these rows out.
    beside : mapping of str to rankings, optional
        Further orders to show by number, by any names, each as ``critical``: such as
        ``{"robust": critical.ordered("robust", recording, model, data)}``.
    gates : bool
        Beside, also the order of learnt gates, as an information bottleneck does (Schulz and others, 2020); it takes a
        training for each layer.

    Returns
    -------
    DataFrame
        For each layer the rows ``selected`` (all members of the selected groups; not for a ranking), ``top 10``,
        ``10 random`` (of those after the top, where these are at least as many) and ``all alive``: ``layer``,
        ``neurons``, ``count``, ``r2_linear`` and ``r2_nonlinear`` (held-out share of the response's variance),
        ``agreement_mean`` and ``agreement_resampled`` (share of predictions that stay; NaN without model and data, or
        where neurons cannot be replaced). ``method`` is empty in these rows. Then, by number of
        neurons, rows with a ``method``: ``critical`` (the order given), those of ``beside``,
        ``random`` (it begins with the neurons of ``10 random``), ``variance``, and with
        model and data where the network can be cut at the layer ``saliency`` and ``learnt gates``:
        ``r2_linear``, ``agreement_resampled``, and ``agreement_constant``, the share of inputs, half of them of the
        target, that stay on their side of it with the others at constants that were learnt to keep them (optimal
        ablation; NaN where it would take too long). Inputs are judged on which neither the order ``sufficient`` of the
        same seed nor the constants were found.

    References
    ----------
    Li and Janson, "Optimal ablation for interpretability", 2024, arXiv:2409.09951. Schulz, Sixt, Tombari and
    Landgraf, "Restricting the flow: information bottlenecks for attribution", 2020, arXiv:2001.00396.
    """
    check_kind("recording", recording, Recording, "what neucept.record returns")
    check_whole("top", top)
    for count in counts or ():
        check_whole("counts", count)
    given = neurons_by_layer(recording.layers, critical)
    further = {name: neurons_by_layer(recording.layers, more) for name, more in (beside or {}).items()}
    known = critical if isinstance(critical, CriticalNeurons) else None
    response = target if target is not None or known is None else known.target
    if response is None:
        raise InputError(
            "The neurons were discovered for an array; give it as target=."
            if known is not None
            else "A ranking does not say what it is of: give the class, or an (n,) array, as target=."
        )
    predicts = None if isinstance(response, np.ndarray) else recording.class_number(response)
    inputs = None
    if model is not None and data is not None:
        output = recording.way(output)
        inputs = Inputs.of(data, model)
    kind = known.response if known is not None and known.response != "array" else "logit"
    rng = np.random.default_rng(seed)
    rows = known.samples if known is not None else recording.samples(response)
    if len(rows) > MOST_INPUTS:
        rows = np.sort(rng.choice(rows, MOST_INPUTS, replace=False))
    predicted = np.sort(rng.choice(rows, min(len(rows), MOST_PREDICTED), replace=False))
    y = recording.response(response, kind)[rows]
    table = []
    aim = None if predicts is None else Aim(recording, predicts, kind)
    found_with = int(known.settings.get("seed", seed)) if known is not None else seed
    samples = known.samples if known is not None else recording.samples(response)
    with show_progress("measuring sufficiency", len(given) * 5, progress) as advance:
        for layer, chosen in given.items():
            Z = np.asarray(recording.activations(layer)[rows])
            sets = _sets(layer, chosen, Z, top, rng)
            agreed = dict.fromkeys(sets, (np.nan, np.nan))
            if model is not None and inputs is not None and can_replace(recording, layer):
                agreed = agreement(model, inputs, recording, layer, sets, predicted, output, seed=seed, target=predicts)
            for name, neurons in sets.items():
                table.append(
                    {
                        "layer": layer,
                        "neurons": name,
                        "count": len(neurons),
                        "r2_linear": held_out_r2(Z[:, neurons], y, nonlinear=False, seed=seed),
                        "r2_nonlinear": held_out_r2(Z[:, neurons], y, nonlinear=True, seed=seed),
                        "agreement_mean": agreed[name][0],
                        "agreement_resampled": agreed[name][1],
                        "agreement_constant": float("nan"),
                        "method": "",
                    }
                )
                advance(1)
            rest = None
            if model is not None and inputs is not None and aim is not None:
                rest = _rest(model, inputs, recording, layer, output)
            numbers = _counts(counts, Z.shape[1])
            with left_as_found(model) if model is not None else nullcontext():
                carrying = (
                    None
                    if rest is None or aim is None
                    else Carrying.of(rest, recording, layer, aim, samples, found_with)
                )
                orders = _orders(chosen, Z, carrying, gates, sets[f"{top} random"], rng)
                orders |= {name: _order(more[layer], Z.shape[1]) for name, more in further.items() if layer in more}
                table += _by_number(layer, orders, numbers, Z, y, carrying)
            advance(1)
    return pd.DataFrame(table)


def _counts(counts: Sequence[int] | None, k: int) -> list[int]:
    """Numbers of first neurons to show."""
    wanted = (5, 10, 20, 50, 100, 200, 500, 1000) if counts is None else counts
    return [count for count in wanted if count <= (k // 2 if counts is None else k)]


def _rest(model: nn.Module, inputs: Inputs, recording: Recording, layer: str, output: Output) -> Rest | None:
    """Cut the network at a layer, where that can be done."""
    try:
        with left_as_found(check_model(model)):
            return rest_of(model, inputs, recording, layer, output)
    except InputError:
        return None


def _orders(
    chosen: Selection | Sequence[int],
    Z: np.ndarray,
    carrying: Carrying | None,
    gates: bool,
    drawn: np.ndarray,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Order the neurons by several methods, the one in question first; the random order begins with those drawn."""
    others = np.setdiff1d(np.flatnonzero(alive(Z)), drawn)
    orders = {
        "critical": _order(chosen, Z.shape[1]),
        "random": np.concatenate([rng.permutation(drawn), rng.permutation(others)]),
    }
    orders["variance"] = np.argsort(-np.asarray(Z, np.float64).var(axis=0), kind="stable")
    if carrying is not None:
        orders["saliency"] = np.argsort(-carrying.saliency(), kind="stable")
        if gates:
            orders["learnt gates"] = np.argsort(-carrying.gates(), kind="stable")
    return orders


def _order(chosen: Selection | Sequence[int], k: int) -> np.ndarray:
    return chosen.ranking if isinstance(chosen, Selection) else numbers_of(list(chosen), k, "critical")


def _by_number(
    layer: str,
    orders: Mapping[str, np.ndarray],
    numbers: Sequence[int],
    Z: np.ndarray,
    y: np.ndarray,
    carrying: Carrying | None,
) -> list[dict[str, Any]]:
    """Measure the first neurons of each order, one row per method and number."""
    rows = []
    for method, order in orders.items():
        sets = {str(count): order[:count] for count in numbers if count <= len(order)}
        nothing = dict.fromkeys(sets, float("nan"))
        resampled = nothing if carrying is None else carrying.resampled(sets)
        constant = nothing if carrying is None else carrying.constants(sets)
        for name, neurons in sets.items():
            rows.append(
                {
                    "layer": layer,
                    "neurons": f"first {name}",
                    "count": len(neurons),
                    "r2_linear": _linear_r2(Z[:, neurons], y),
                    "r2_nonlinear": float("nan"),
                    "agreement_mean": float("nan"),
                    "agreement_resampled": resampled[name],
                    "agreement_constant": constant[name],
                    "method": method,
                }
            )
    return rows


def _linear_r2(Z: np.ndarray, y: np.ndarray) -> float:
    """Held-out share of the variance of y that a linear fit predicts, in two halves: cheaper than `held_out_r2`.

    The scale of a neuron is that on all inputs: one that hardly varies in the half that is fitted, and does in the
    other, would be blown up there.
    """
    if not standardised(y).any():
        return float("nan")
    Z, half = standardised(Z), np.arange(len(y)) % 2 == 0
    left = 0.0
    for fitted in (half, ~half):
        fit, response = Linear.of(Z[fitted], scale=False), y[fitted]
        predicted = (Z[~fitted] - Z[fitted].mean(axis=0)) @ fit.coefficients(standardised(response)) * response.std()
        left += float(np.sum((y[~fitted] - response.mean() - predicted) ** 2))
    return float(1 - left / len(y) / y.var())


def _sets(
    layer: str, chosen: Selection | Sequence[int], Z: np.ndarray, top: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Choose sets of neurons to measure: the selected ones, the first, random ones, and all that are alive."""
    if isinstance(chosen, Selection):
        ranked = chosen.ranking[chosen.groups[chosen.ranking] >= 0]
        selected = {"selected": np.flatnonzero(np.isin(chosen.groups, chosen.groups[chosen.neurons]))}
        living = np.flatnonzero(chosen.groups >= 0)
    else:
        ranked, selected = numbers_of(list(chosen), Z.shape[1], f"critical['{layer}']"), {}
        living = np.flatnonzero(alive(Z))
    ranked = np.concatenate([ranked, np.setdiff1d(living, ranked)])
    rest = ranked[top:] if len(ranked) >= 2 * top else ranked
    return {
        **selected,
        f"top {top}": ranked[:top],
        f"{top} random": np.sort(rng.choice(rest, min(top, len(rest)), replace=False)),
        "all alive": living,
    }
