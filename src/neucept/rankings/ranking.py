"""Rank the neurons of a recording by several methods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from neucept.errors import InputError, check_kind
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
        For what is no method, two methods of one name, and scores that are not one finite number a neuron.

    Examples
    --------
    >>> from neucept.rankings import Activation
    >>> recording = Recording({"a": np.array([[0, 3], [1, 2]], np.float32)}, np.eye(2, 2), None, ("0", "1"))
    >>> rank(recording, 0, [Activation()], rows="all")
      layer  neuron      method  score  rank
    0     a       1  activation    2.5     1
    1     a       0  activation    0.5     2
    """
    check_kind("recording", recording, Recording, "what neucept.record returns")
    methods = _checked(methods)
    subject = Subject.of(recording, target, model, data, rows, layers, output)
    tables = []
    for method in methods:
        found = method.scores(subject)
        if not isinstance(found, Mapping):
            raise InputError(f"'{method.name}' gave a {type(found).__name__}; expected {{layer: (k,) scores}}.")
        for layer in subject.layers:
            scores, k = np.asarray(found.get(layer, ())), recording.activations(layer).shape[1]
            if scores.shape != (k,) or scores.dtype.kind not in "biuf" or not np.isfinite(scores).all():
                raise InputError(f"'{method.name}' must give {k} finite scores for layer '{layer}'; got {scores!r}.")
            order = np.argsort(-scores, kind="stable")
            columns = {"layer": layer, "neuron": order, "method": method.name, "score": scores[order]}
            tables.append(pd.DataFrame({**columns, "rank": np.arange(1, k + 1)}))
    return pd.concat(tables, ignore_index=True)


def _checked(methods: Any) -> list[Method]:
    """Refuse what is no list of methods, each with a name of its own."""
    if isinstance(methods, str) or not isinstance(methods, Iterable):
        raise InputError(f"methods={methods!r}: expected a list of methods, such as [Activation()].")
    found = list(methods)
    for method in found:
        if isinstance(method, type):
            raise InputError(f"methods holds the class {method.__name__}; make a method of it: {method.__name__}().")
        if not isinstance(getattr(method, "name", None), str) or not callable(getattr(method, "scores", None)):
            raise InputError(f"{method!r} is no method: expected a name, which is a text, and scores(subject).")
    names = [method.name for method in found]
    if not names or len(set(names)) != len(names):
        raise InputError(f"The methods are called {names}; expected at least one, each by a name of its own.")
    return found
