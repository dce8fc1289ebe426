"""Rank the neurons of a recording by several methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from neucept.errors import InputError
from neucept.rankings.subject import Method, Subject
from neucept.recording import Recording
from neucept.recording.recording import Target


def rank(
    recording: Recording,
    target: Target,
    methods: Sequence[Method],
    model: nn.Module | None = None,
    data: Any = None,
    rows: str | np.ndarray | None = None,
    layers: Sequence[str] | None = None,
    output: Any = None,
) -> pd.DataFrame:
    """Rank the neurons of each layer by each method.

    Parameters
    ----------
    recording : Recording
        Of `neucept.record`.
    target : int, str or array
        The class whose neurons are ranked.
    methods : sequence of Method
        Such as ``[Activation(), IntegratedGradients(), NeuCEPT()]``; their names differ.
    model, data, rows, layers, output
        See `Subject`; attributions need the recorded model and inputs.

    Returns
    -------
    DataFrame
        One row a layer, method and neuron: ``layer``, ``neuron``, ``method``, ``score`` and ``rank``, 1 for the most
        important; of equal scores the smaller neuron number comes first.

    Raises
    ------
    InputError
        For two methods of one name, and for scores that are not one finite number a neuron.

    Examples
    --------
    >>> from neucept.rankings import Activation
    >>> recording = Recording({"a": np.array([[0, 3], [1, 2]], np.float32)}, np.eye(2, 2), None, ("0", "1"))
    >>> rank(recording, 0, [Activation()], rows="all")
      layer  neuron      method  score  rank
    0     a       1  activation    2.5     1
    1     a       0  activation    0.5     2
    """
    names = [method.name for method in methods]
    if not names or len(set(names)) != len(names):
        raise InputError(f"The methods are called {names}; expected at least one, each by a name of its own.")
    subject = Subject.of(recording, target, model, data, rows, layers, output)
    tables = []
    for method in methods:
        found = method.scores(subject)
        for layer in subject.layers:
            scores, k = np.asarray(found.get(layer, ())), recording.activations(layer).shape[1]
            if scores.shape != (k,) or not np.isfinite(scores).all():
                raise InputError(f"'{method.name}' must give {k} finite scores for layer '{layer}'; got {scores!r}.")
            order = np.argsort(-scores, kind="stable")
            columns = {"layer": layer, "neuron": order, "method": method.name, "score": scores[order]}
            tables.append(pd.DataFrame({**columns, "rank": np.arange(1, k + 1)}))
    return pd.concat(tables, ignore_index=True)
