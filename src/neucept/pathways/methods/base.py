"""The base class of all ways to score neurons; derive from it to write a method of your own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from copy import copy
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from neucept.batches import Batch
from neucept.errors import InputError, check_whole
from neucept.pathways.scores import NeuronScores
from neucept.pathways.targets import Checked, Target, check_target, target_rows
from neucept.pathways.tracing import gradients
from neucept.pathways.tracing.activations import ACTIVATIONS
from neucept.pathways.tracing.gradients import Trace, check_finite
from neucept.pathways.tracing.network import Network
from neucept.pathways.tracing.sites import evaluation, raw_name
from neucept.recording.outputs import Output
from neucept.recording.reading import float_type
from neucept.short_repr import ShortRepr


@dataclass(frozen=True, repr=False)
class SiteScores(ShortRepr):
    """What `Method.neuron_scores` may return instead of plain scores; mappings by site as in its ``trace.values``.

    Attributes
    ----------
    scores, zero, residual, change
        As of `NeuronScores`.
    """

    scores: Mapping[str, Tensor]
    zero: Mapping[str, Tensor] | None = None
    residual: Mapping[str, Tensor] | None = None
    change: Mapping[str, Tensor] | None = None


class Method(ABC):
    """A way to score the neurons of a network.

    A method of your own derives from this class and defines `neuron_scores`. It then has the verb `score`, and works
    with `PathwayGradient`, `neucept.trace_pathways` and everything else that takes a method.

    Parameters
    ----------
    model : Module
        Any network that ends in logits; left as it was found.
    output : None, str, int or callable
        Selects the logits from what the model returns, as in `neucept.record`.
    activations : set of str
        Names of the functions whose calls are sites, such as ``ACTIVATIONS | {"sigmoid"}``.
    internal_batch_size : int, optional
        Most inputs that run at a time, which bounds memory and changes no score; None runs the whole batch.

    Attributes
    ----------
    by_site : bool
        Whether `NeuronScores.select` keeps the same share of each site by default.
    needs_gradients : bool
        Whether `neuron_scores` calls ``trace.gradients()``; without gradients the forward pass is cheaper.
    reached : float or None
        The highest sparsity that can be selected, if there is one.

    Examples
    --------
    >>> class Magnitude(Method):
    ...     '''Score a neuron by the size of its activation.'''
    ...
    ...     needs_gradients = False
    ...
    ...     def neuron_scores(self, trace):
    ...         return {site: values.abs() for site, values in trace.values.items()}
    >>> network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> scores = Magnitude(network).score(torch.randn(5, 3))
    >>> scores.method, scores["1"].shape, scores.select(sparsity=0.5)["1"].sum(1).tolist()
    ('Magnitude', torch.Size([5, 4]), [2, 2, 2, 2, 2])
    """

    by_site = False
    needs_gradients = True
    reached: float | None = None

    def __init__(
        self,
        model: nn.Module,
        *,
        output: Output = None,
        activations: Collection[str] = ACTIVATIONS,
        internal_batch_size: int | None = None,
    ) -> None:
        self.network = Network(model, output, activations)
        self.internal_batch_size = (
            None if internal_batch_size is None else check_whole("internal_batch_size", internal_batch_size)
        )

    @abstractmethod
    def neuron_scores(self, trace: Trace) -> Mapping[str, Tensor] | SiteScores:
        """Score every neuron of every input of one forward pass.

        Called by `score` with the model in evaluation mode, for a batch or parts of it.

        Parameters
        ----------
        trace : Trace
            The forward pass: ``trace.values`` (activations by site), ``trace.gradients()`` (of the response, by site),
            ``trace.logits``, ``trace.response``, ``trace.inputs``, and ``trace.network.run(trace.inputs, visit)`` to
            run it again with changed activations.

        Returns
        -------
        mapping of str to Tensor, or SiteScores
            The sites of ``trace.values`` with scores of the same shapes, (batch, *shape). The highest are kept.
        """

    def score(self, inputs: Any, target: Target = None) -> NeuronScores:
        """Score every neuron of every input; the result does not depend on how many run at a time.

        Parameters
        ----------
        inputs : tensor, tuple or mapping of tensors
            A batch.
        target : None, int, (batch,) whole numbers, or a pair (a, b) of either
            The class whose logit is explained, None for the predicted one; a pair for logit a minus logit b.

        Raises
        ------
        InputError
            For a model without sites, a class that the model does not have, or a site that no gradient reaches.
        """
        batch = inputs if isinstance(inputs, Batch) else Batch(inputs)
        n = batch.n
        classes = check_target(target, n)
        size = self.rows_at_a_time(batch)
        kind = float_type(self.network.model)
        method, parts = self, []
        with evaluation(self.network.model, self.needs_gradients) as device:
            for start in range(0, n, size):
                rows = slice(start, start + size)
                part = batch.part(rows).to(device, kind).fresh()
                parts.append(method._score(part, target_rows(classes, rows)))
                if rows.stop < n:  # the sites of all parts are those of the first
                    method = method.with_sites(parts[0])
        return _concatenate(parts)

    def with_sites(self, scores: NeuronScores) -> Method:
        """Return the method for further inputs, with the same sites as those scored."""
        method = copy(self)
        method.network = self.network.with_sites(map(raw_name, scores))
        return method

    def rows_at_a_time(self, inputs: Batch) -> int:
        """Return how many inputs of a batch run at a time."""
        return self.internal_batch_size or inputs.n

    def _score(self, inputs: Batch, target: Checked) -> NeuronScores:
        trace = gradients.trace(self.network, inputs, target)
        given = self.neuron_scores(trace)
        result = given if isinstance(given, SiteScores) else SiteScores(given)
        self._check_shapes(result.scores, trace)
        names = trace.names
        check_finite(result.scores, names)
        logits = trace.logits.detach()
        more = {name: getattr(result, name) for name in ("zero", "residual", "change")}
        return NeuronScores(
            scores={names[raw]: result.scores[raw] for raw in trace.values},
            method=type(self).__name__,
            active={names[raw]: value.bool() for raw, value in trace.values.items()},
            response=trace.response.of(logits),
            predictions=logits.argmax(1),
            target=trace.response.target,
            by_site=self.by_site,
            reached=self.reached,
            activations=frozenset(self.network.activations),
            **{
                name: None if by_raw is None else {names[raw]: by_raw[raw] for raw in trace.values}
                for name, by_raw in more.items()
            },
        )

    def _check_shapes(self, scores: Any, trace: Trace) -> None:
        if not isinstance(scores, Mapping) or set(scores) != set(trace.values):
            what = f"the sites {', '.join(map(str, scores))}" if isinstance(scores, Mapping) else type(scores).__name__
            raise InputError(
                f"{type(self).__name__}.neuron_scores returned {what}; expected a mapping with the sites of"
                f" trace.values: {', '.join(trace.values)}."
            )
        for raw, value in trace.values.items():
            if not isinstance(scores[raw], Tensor) or scores[raw].shape != value.shape:
                got = tuple(scores[raw].shape) if isinstance(scores[raw], Tensor) else type(scores[raw]).__name__
                raise InputError(
                    f"{type(self).__name__}.neuron_scores returned {got} for site '{raw}'; expected scores of shape"
                    f" {tuple(value.shape)}."
                )


def _concatenate(parts: list[NeuronScores]) -> NeuronScores:
    """Concatenate the scores of consecutive parts of a batch."""
    if len(parts) == 1:
        return parts[0]
    for other in parts:
        if list(other) != list(parts[0]):
            sites = sorted(set(parts[0]) ^ set(other))
            raise InputError(
                f"The model calls the activations {', '.join(sites)} for only some of the inputs. Score inputs that"
                " take the same way through the model together, and others in a call of their own."
            )

    def joined(values: list[Any]) -> Any:
        if isinstance(values[0], Mapping):
            return {key: torch.cat([value[key] for value in values]) for key in values[0]}
        if isinstance(values[0], tuple):
            return tuple(map(torch.cat, zip(*values, strict=True)))
        return torch.cat(values) if isinstance(values[0], Tensor) else values[0]

    return NeuronScores(
        **{one.name: joined([getattr(part, one.name) for part in parts]) for one in fields(NeuronScores)}
    )
