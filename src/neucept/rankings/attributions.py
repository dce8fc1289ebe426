"""Attributions of Captum at any layer, summed to one score a neuron.

A neuron's score is the sum of its attributions to the target's logit over all inputs ("total attribution scores on all
images of the examined class", NeuCEPT, Appendix H.2): with their signs, so that a neuron that speaks for the class on
some inputs and against it on others counts little; ``absolute=True`` sums magnitudes instead. The attribution of a
channel is the sum over its positions, for attributions are shares of the logit, and shares add up.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from neucept.errors import InputError, missing
from neucept.inputs import Batch, map_tree
from neucept.rankings.ranking import Subject
from neucept.recording.hooks import INPUT, calls_of, left_as_found, modules_by_name, split_call
from neucept.recording.layout import resolve_units
from neucept.recording.outputs import pick_logits
from neucept.recording.reading import float_type
from neucept.recording.subnetwork import tail, twin
from neucept.recording.units import Encoder, Units, first_tensor
from neucept.short_repr import ShortRepr

BASELINES = ("input", "zero")


@dataclass(frozen=True)
class _Way:
    """From what the layer returns (if the network is cut) or from inputs to attributions at the layer.

    ``start`` is the target's logit at the baseline.
    """

    cut: bool
    attribute: Callable[[Any], Any]
    units: Units
    start: float


@dataclass(frozen=True, kw_only=True, repr=False)
class Attribution(ShortRepr, ABC):
    """A method of Captum at a layer.

    The network is cut at the layer, and Captum's method explains the rest of it, so that the network up to the layer
    runs once. Where it cannot be cut, Captum's class for layers, which runs the whole network each time, gives the
    same numbers.

    Attributes
    ----------
    baseline : {"input", "zero"} or Tensor
        What attributions are measured from: the layer's output for an input of zeros, zeros at the layer (as in the
        published code of NeuCEPT), or the layer's output for this input, (1, ...). Gradients have no use for it.
    absolute : bool
        Sum magnitudes over inputs, not signed attributions.
    whole : bool
        Use Captum's class for layers on the whole network.
    batch_size : int
        Inputs at a time.
    """

    completes: ClassVar[float | None] = None  # share of the logit's change that attributions may miss; None: any
    remedy: ClassVar[str] = ""  # what to do where they miss more

    baseline: str | Tensor = "input"
    absolute: bool = False
    whole: bool = False
    batch_size: int = 256

    def __post_init__(self) -> None:
        if not isinstance(self.baseline, Tensor) and self.baseline not in BASELINES:
            raise InputError(f"baseline={self.baseline!r}: expected 'input', 'zero' or a tensor, an input (1, ...).")
        if self.whole and isinstance(self.baseline, str) and self.baseline == "zero":
            raise InputError("baseline='zero' is one at the layer; with whole=True baselines are inputs.")

    @property
    @abstractmethod
    def name(self) -> str:
        """What tables and figures call it."""

    @abstractmethod
    def _rest(self, captum: Any, rest: nn.Module, values: Tensor, baseline: Tensor, target: int) -> Tensor:
        """Attributions of ``values``, the layer's, to the target, by the network after the layer."""

    @abstractmethod
    def _all(
        self, captum: Any, network: nn.Module, layer: nn.Module, inputs: Any, baseline: Any, target: int
    ) -> Tensor:
        """Attributions at a layer by Captum's class for layers."""

    def scores(self, subject: Subject) -> dict[str, np.ndarray]:
        """Sum the attributions of each neuron.

        Raises
        ------
        InputError
            Without a model, inputs or a class; for neurons of a callable; when Captum is missing; when the model or
            the inputs are not those that were recorded.
        """
        captum, model = _captum(), _checked(subject, self.name)
        target = subject.recording.class_number(subject.target)
        totals = {layer: np.zeros(subject.recording.activations(layer).shape[1]) for layer in subject.layers}
        explained = {layer: np.zeros(2) for layer in subject.layers}  # what is missing, and what was to be explained
        ways: dict[str, _Way] = {}
        with left_as_found(model) as device, own_random(getattr(self, "seed", 0)), warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="captum")
            for rows, given in subject.batches(self.batch_size):
                batch = given.to(device, float_type(model))
                if not ways or any(way.cut for way in ways.values()):
                    returned, logits = at_layers(model, batch, subject.layers, subject.output)
                    _same(logits, subject.recording.logits[rows], "The model does on the data other than was recorded")
                if not ways:
                    ways = self._ways(captum, subject, batch, returned, logits, target)
                for layer, way in ways.items():
                    with torch.enable_grad():
                        raw = first_tensor(way.attribute(returned[layer] if way.cut else batch.tree)).detach()
                    attributions = _of_neurons(raw, way.units)
                    summed = attributions.double()
                    totals[layer] += (summed.abs() if self.absolute else summed).sum(0).cpu().numpy()
                    change = torch.as_tensor(subject.recording.logits[rows, target]).double() - way.start
                    explained[layer] += [
                        float((summed.sum(1).cpu() - change).abs().sum()),
                        float(change.abs().sum()),
                    ]
        for layer, (missed, whole) in explained.items():
            # Past a layer that a connection skips, a part of the change goes round it.
            if self.completes is not None and ways[layer].cut and missed > self.completes * whole:
                warnings.warn(
                    f"{self.name} at layer '{layer}': attributions should add up to the change of the logit, but miss"
                    f" {missed / max(whole, 1e-30):.0%} of it. {self.remedy}",
                    stacklevel=2,
                )
        return totals

    def _ways(
        self, captum: Any, subject: Subject, batch: Batch, returned: dict[str, Any], logits: Tensor, target: int
    ) -> dict[str, _Way]:
        """Prepare each layer, with the axes that its units read."""
        assert subject.model is not None
        units = {layer: subject.recording.units[layer] for layer in subject.layers}
        resolved, _ = resolve_units(subject.model, batch, units, subject.output)
        return {
            layer: self._way(captum, subject, layer, batch, values, logits, target, resolved[layer])
            for layer, values in returned.items()
        }

    def _way(
        self,
        captum: Any,
        subject: Subject,
        layer: str,
        batch: Batch,
        values: Any,
        logits: Tensor,
        target: int,
        units: Units,
    ) -> _Way:
        """Prepare a layer: by the rest of the network, or by the whole of it, tried on a first batch."""
        model: Any = subject.model
        given = (
            Batch(self.baseline) if isinstance(self.baseline, Tensor) else batch.part(slice(0, 1)).map(torch.zeros_like)
        )
        given = given.to(logits.device, float_type(model))
        rest = None if self.whole else self._cut(model, layer, subject.output)
        if rest is not None and isinstance(values, Tensor):
            with torch.no_grad():
                _same(rest(values), logits, f"The network after layer '{layer}' differs without in-place modules")
            zero = isinstance(self.baseline, str) and self.baseline == "zero"
            start = torch.zeros_like(values[:1]) if zero else at_layers(model, given, [layer])[0][layer]
            with torch.no_grad():
                at_start = float(rest(start)[0, target])
            return _Way(True, lambda values: self._rest(captum, rest, values, start, target), units, at_start)
        if split_call(layer)[0] != layer or layer == INPUT:
            raise InputError(f"Captum explains layers by module, not single calls such as '{layer}'; rank others.")
        if isinstance(batch.tree, dict):
            raise InputError("Captum's classes for layers take no keyword inputs, and the network cannot be cut here.")
        copied = twin(model)
        network = Logits(copied, subject.output)
        module = modules_by_name(copied)[layer]
        with torch.no_grad():
            _same(batch.call(network), logits, "The network differs without in-place modules")
            at_start = float(given.call(network)[0, target])
        return _Way(
            False, lambda inputs: self._all(captum, network, module, inputs, given.tree, target), units, at_start
        )

    def _cut(self, model: nn.Module, layer: str, output: Any) -> nn.Module | None:
        """Give the rest of the network, None where Captum's class for layers gives the same."""
        try:
            return Logits(tail(model, layer), output)
        except InputError as error:
            if isinstance(self.baseline, str) and self.baseline == "zero":
                raise InputError(
                    f"{error} So zeros at the layer cannot be the baseline; use baseline='input'."
                ) from error
            return None


@dataclass(frozen=True, repr=False)
class Saliency(Attribution):
    """The absolute gradient of the target's logit with respect to the layer (Simonyan, Vedaldi, Zisserman, 2014)."""

    name: str = "saliency"

    def _rest(self, captum: Any, rest: nn.Module, values: Tensor, baseline: Tensor, target: int) -> Tensor:
        found: Tensor = captum.Saliency(rest).attribute(values, target=target)
        return found

    def _all(
        self, captum: Any, network: nn.Module, layer: nn.Module, inputs: Any, baseline: Any, target: int
    ) -> Tensor:
        gradient = captum.LayerGradientXActivation(network, layer, multiply_by_inputs=False)
        return first_tensor(gradient.attribute(inputs, target=target)).abs()


@dataclass(frozen=True, repr=False)
class IntegratedGradients(Attribution):
    """Gradients integrated from the baseline (Sundararajan, Taly, Yan, 2017), by Gauss-Legendre quadrature."""

    completes: ClassVar[float | None] = 0.05
    remedy: ClassVar[str] = "Give more steps=."

    steps: int = 50
    name: str = "integrated gradients"

    def _rest(self, captum: Any, rest: nn.Module, values: Tensor, baseline: Tensor, target: int) -> Tensor:
        found: Tensor = captum.IntegratedGradients(rest).attribute(
            values, baseline, target, n_steps=self.steps, internal_batch_size=max(self.batch_size, len(values))
        )
        return found

    def _all(
        self, captum: Any, network: nn.Module, layer: nn.Module, inputs: Any, baseline: Any, target: int
    ) -> Tensor:
        found: Tensor = captum.LayerIntegratedGradients(network, layer).attribute(
            inputs, baseline, target, n_steps=self.steps, internal_batch_size=self.batch_size
        )
        return found


@dataclass(frozen=True, repr=False)
class DeepLift(Attribution):
    """Differences from the baseline, handed back rule by rule (Shrikumar, Greenside, Kundaje, 2017)."""

    completes: ClassVar[float | None] = 0.01
    remedy: ClassVar[str] = (
        "Captum's DeepLIFT knows activations that are modules of certain types alone; use IntegratedGradients() here."
    )

    name: str = "DeepLIFT"

    def _rest(self, captum: Any, rest: nn.Module, values: Tensor, baseline: Tensor, target: int) -> Tensor:
        found: Tensor = captum.DeepLift(rest).attribute(values, baseline.expand_as(values), target)
        return found

    def _all(
        self, captum: Any, network: nn.Module, layer: nn.Module, inputs: Any, baseline: Any, target: int
    ) -> Tensor:
        found: Tensor = captum.LayerDeepLift(network, layer).attribute(inputs, baseline.expand_as(inputs), target)
        return found


@dataclass(frozen=True, repr=False)
class GradientShap(Attribution):
    """Expected gradients at random points between baseline and noisy values (Lundberg, Lee, 2017).

    The points lie between layer outputs; with ``whole=True``, where Captum draws them between *inputs*, they differ,
    so that there is no falling back from one to the other.

    Attributes
    ----------
    samples : int
        Random points an input.
    stdevs : float
        Standard deviation of the noise added to the layer's outputs (the inputs, with ``whole=True``).
    seed : int
        Of the points.
    """

    samples: int = 5
    stdevs: float = 0.0
    seed: int = 0
    name: str = "gradient SHAP"

    def _cut(self, model: nn.Module, layer: str, output: Any) -> nn.Module | None:
        try:
            return Logits(tail(model, layer), output)
        except InputError as error:
            raise InputError(
                f"{error} With whole=True, random points lie between inputs, and no cut is needed."
            ) from error

    def _rest(self, captum: Any, rest: nn.Module, values: Tensor, baseline: Tensor, target: int) -> Tensor:
        found: Tensor = captum.GradientShap(rest).attribute(values, baseline, self.samples, self.stdevs, target)
        return found

    def _all(
        self, captum: Any, network: nn.Module, layer: nn.Module, inputs: Any, baseline: Any, target: int
    ) -> Tensor:
        found: Tensor = captum.LayerGradientShap(network, layer).attribute(
            inputs, baseline, self.samples, self.stdevs, target
        )
        return found


def _captum() -> Any:
    try:
        return import_module("captum.attr")
    except ImportError:
        raise missing("captum", "rankings") from None


def _checked(subject: Subject, name: str) -> nn.Module:
    """Refuse what no attribution can do."""
    if subject.model is None:
        raise InputError(f"'{name}' runs the network: give model= and data= (the recorded inputs).")
    if isinstance(subject.target, np.ndarray):
        raise InputError(f"'{name}' explains a class's logit; got an array as target. Give a class.")
    for layer in subject.layers:
        if isinstance(subject.recording.units[layer], Encoder):
            raise InputError(f"The neurons of layer '{layer}' are a callable's: attributions cannot be shared out.")
    return subject.model


def _same(found: Tensor, expected: Any, otherwise: str) -> None:
    there = torch.as_tensor(expected).to(found)
    if found.shape != there.shape or not torch.allclose(found, there, rtol=1e-3, atol=1e-3 * float(there.std()) + 1e-6):
        off = float((found - there).abs().max()) if found.shape == there.shape else float("nan")
        raise InputError(f"{otherwise}: logits differ by up to {off:.3g}. Give the recorded model and inputs.")


def _of_neurons(attributions: Tensor, units: Units) -> Tensor:
    """Sum attributions over the positions of each neuron, (batch, k): the adjoint of `Units.spread`."""
    k = units.read(attributions).shape[1]
    batch = attributions.shape[getattr(units, "batch", 0)]
    values = torch.zeros(batch, k, dtype=attributions.dtype, device=attributions.device, requires_grad=True)
    with torch.enable_grad():
        total = (units.spread(values, attributions) * attributions).sum()
    return torch.autograd.grad(total, values)[0]


class Logits(nn.Module):
    """A network that gives logits, (batch, C), with their graph; its in-place modules work on copies from now on.

    Parameters
    ----------
    network : Module
        One of one's own (`neucept.recording.subnetwork`), for it is changed.
    output : None, str, int or callable
        As in `Subject`.
    """

    def __init__(self, network: nn.Module, output: Any = None) -> None:
        super().__init__()
        self.network, self._output = network, output
        for module in network.modules():
            if getattr(module, "inplace", False):  # Captum's hooks keep values that must not change
                module.inplace = False  # type: ignore[assignment]

    def forward(self, *inputs: Any) -> Tensor:
        """Give the logits; a single one, z, becomes (-z/2, z/2), as in a recording."""
        return pick_logits(self.network(*inputs), self._output)


def at_layers(
    model: nn.Module, batch: Batch, layers: Sequence[str], output: Any = None
) -> tuple[dict[str, Any], Tensor]:
    """Run a model and keep what layers return, {layer: ...}, with the logits; in-place modules cannot change it."""
    kept: dict[str, Any] = {}

    def keep(layer: str, call: int, module: nn.Module | None, returned: Any) -> None:
        if layer == INPUT and module is None:
            given, keywords = returned
            returned = keywords or (given[0] if len(given) == 1 else given)
        kept[layer] = map_tree(lambda tensor: tensor.clone(), returned)

    with calls_of(model, layers, keep), torch.no_grad():
        returned = batch.call(model)
    return kept, pick_logits(returned, output)


@contextmanager
def own_random(seed: int) -> Iterator[None]:
    """Seed the global random generators, which Captum draws from, and put them back afterwards."""
    found = np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            yield
    finally:
        np.random.set_state(found)  # noqa: NPY002
