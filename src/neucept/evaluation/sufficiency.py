"""How much of the response do the selected neurons carry? The companion of precision.

`sufficiency` makes the table; `held_out_r2`, by which it judges, is to be had from here for neurons of one's own
choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from neucept.discovery.selection import neurons_by_layer
from neucept.errors import InputError, check_kind, check_whole
from neucept.inputs import Inputs
from neucept.knockoffs.preprocessing import alive, standardised
from neucept.progress import progress as show_progress
from neucept.recording import Recording
from neucept.recording.intervention import agreement, can_replace, numbers_of
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
) -> pd.DataFrame:
    """Measure how much of the response the selected neurons carry, beside others.

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

    Returns
    -------
    DataFrame
        For each layer the rows ``selected`` (all members of the selected groups; not for a ranking), ``top 10``,
        ``10 random`` (of those after the top, where these are at least as many) and ``all alive``: ``layer``,
        ``neurons``, ``count``, ``r2_linear`` and ``r2_nonlinear`` (held-out share of the response's variance),
        ``agreement_mean`` and ``agreement_resampled`` (share of predictions that stay; NaN without model and data, or
        where neurons cannot be replaced).
    """
    check_kind("recording", recording, Recording, "what neucept.record returns")
    check_whole("top", top)
    given = neurons_by_layer(recording.layers, critical)
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
    with show_progress("measuring sufficiency", len(given) * 4, progress) as advance:
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
                    }
                )
                advance(1)
    return pd.DataFrame(table)


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
    rest = ranked[top:] if len(ranked) >= 2 * top else ranked
    return {
        **selected,
        f"top {top}": ranked[:top],
        f"{top} random": np.sort(rng.choice(rest, min(top, len(rest)), replace=False)),
        "all alive": living,
    }
