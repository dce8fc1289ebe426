"""How a layer's output becomes neurons, and back: one object holds that interpretation for each recorded layer.

`Auto` and `Channels` without an axis are resolved once, when a network is recorded (`neucept.recording.layout`): which
axis counts the channels, and which the inputs, is then known and kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from neucept.errors import InputError, closest
from neucept.short_repr import ShortRepr


def first_tensor(output: Any) -> Tensor:
    """Find the tensor in what a module returned: itself, or the first of a tuple, a list or a mapping."""
    if isinstance(output, Tensor):
        return output
    values = output.values() if isinstance(output, Mapping) else output if isinstance(output, tuple | list) else ()
    for value in values:
        try:
            return first_tensor(value)
        except TypeError:
            continue
    raise TypeError(f"no tensor in a {type(output).__name__}")


@runtime_checkable
class Units(Protocol):
    """How a layer's output becomes neurons, and back.

    Attributes
    ----------
    name : str
        What a saved recording calls it.
    labels : sequence of str or None
        Name of each neuron, such as "latent 4123: wheels"; None for numbers.

    Examples
    --------
    Units of your own are two functions. The largest value of each channel of a map:

    >>> class Peaks:
    ...     name, labels = "peaks", None
    ...
    ...     def read(self, output, module=None, mask=None):
    ...         return output.amax(dim=(2, 3))
    ...
    ...     def spread(self, values, like, module=None):
    ...         return values[..., None, None].expand_as(like)
    >>> Peaks().read(torch.ones(5, 8, 4, 4)).shape, isinstance(Peaks(), Units)
    (torch.Size([5, 8]), True)
    """

    @property
    def name(self) -> str:
        """What a saved recording calls it."""
        ...

    @property
    def labels(self) -> Sequence[str] | None:
        """Name of each neuron; None for numbers."""
        ...

    def read(self, output: Tensor, module: nn.Module | None = None, mask: Tensor | None = None) -> Tensor:
        """Compute the neurons of one call of a module, with their graph.

        Parameters
        ----------
        output : Tensor
            What the module returned.
        module : Module or None
            The module.
        mask : Tensor or None
            (batch, tokens) bool: which tokens are real; None where all are.

        Returns
        -------
        Tensor
            (batch, k).
        """
        ...

    def spread(self, values: Tensor, like: Tensor, module: nn.Module | None = None) -> Tensor:
        """Give every element of a layer's output the value of its neuron: for masks, noise and interventions.

        Parameters
        ----------
        values : Tensor
            (k,) or (batch, k).
        like : Tensor
            An output of the layer.
        module : Module or None
            The module.

        Returns
        -------
        Tensor
            Broadcasts to the shape of ``like``; zero, or False, for elements of no neuron.
        """
        ...


def _checked_names(names: Any) -> tuple[str, ...] | None:
    if isinstance(names, str) or not (names is None or isinstance(names, Iterable)):
        raise InputError(f"names={names!r}: expected a list of names, one per neuron.")
    return None if names is None else tuple(map(str, names))


@dataclass(frozen=True)
class _Named:
    """Names of the neurons; units with and without them are equal, as they read the same."""

    names: Sequence[str] | None = field(default=None, kw_only=True, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", _checked_names(self.names))

    @property
    def labels(self) -> Sequence[str] | None:
        """Names of the neurons."""
        return self.names


@dataclass(frozen=True)
class Channels(_Named):
    """One neuron per channel: the mean over space or tokens, padding left out.

    Attributes
    ----------
    axis : int or None
        The axis of the output that counts the channels; None: found from the network when it is recorded.
    batch : int
        The axis that counts the inputs; 1 for sequence-first layers.
    names : sequence of str, optional
        Of the channels.
    """

    axis: int | None = None
    batch: int = 0
    name = "channel"

    def read(self, output: Tensor, module: nn.Module | None = None, mask: Tensor | None = None) -> Tensor:
        """Average over all axes but those of inputs and channels; see `Units.read`."""
        if output.ndim <= 2:
            return output.movedim(self.batch, 0).reshape(output.shape[self.batch], -1)
        moved = output.movedim((self.batch, self._channels(output, module)), (0, 1)).flatten(2)
        if mask is None or moved.shape[2] != mask.shape[1] or len(mask) != len(moved) or output.ndim != 3:
            # The mean over the axes as they lie: the same sum, in the same order, as without moving them.
            rest = [d for d in range(output.ndim) if d not in (self.batch, self._channels(output, module))]
            dtype = output.dtype if output.dtype == torch.float64 else torch.float32
            means = output.mean(rest, dtype=dtype)
            return means if self.batch < self._channels(output, module) else means.T
        weights = mask.to(moved.device, torch.float32)[:, None]
        kept = torch.where(weights > 0, moved.to(torch.float32), 0.0)
        return (kept * weights).sum(2) / weights.sum(2).clamp(min=1)

    def spread(self, values: Tensor, like: Tensor, module: nn.Module | None = None) -> Tensor:
        """Repeat each channel's value over space or tokens; see `Units.spread`."""
        shape = [1] * like.ndim
        axis = self._channels(like, module) if like.ndim > 2 else 1 - self.batch
        shape[axis] = values.shape[-1]
        if values.ndim == 1:
            return values.reshape(shape)
        shape[self.batch] = len(values)
        return (values if self.batch < axis else values.T).reshape(shape)

    def _channels(self, output: Tensor, module: nn.Module | None) -> int:
        axis = self.axis if self.axis is not None else channel_axis(module, output)
        if axis is None:
            raise InputError(
                f"Which axis of an output {tuple(output.shape)} counts the channels is not known. Say it with"
                " neurons=Channels(axis=...) from neucept.recording, or use neurons='element'."
            )
        if not -output.ndim <= axis < output.ndim or axis % output.ndim == self.batch:
            raise InputError(f"Channels(axis={axis}): the output has the shape {tuple(output.shape)}.")
        return axis % output.ndim


@dataclass(frozen=True)
class Elements(_Named):
    """One neuron per element of the output.

    Attributes
    ----------
    batch : int
        The axis that counts the inputs.
    names : sequence of str, optional
        Of the neurons; those of the input are the columns of a data frame, where one is recorded.
    """

    batch: int = 0
    name = "element"

    def read(self, output: Tensor, module: nn.Module | None = None, mask: Tensor | None = None) -> Tensor:
        """Flatten the output of each input; see `Units.read`."""
        moved = output.movedim(self.batch, 0)
        return moved.reshape(len(moved), -1)

    def spread(self, values: Tensor, like: Tensor, module: nn.Module | None = None) -> Tensor:
        """Give each element its value; see `Units.spread`."""
        shape = like.movedim(self.batch, 0).shape
        return values.reshape((-1 if values.ndim == 2 else 1, *shape[1:])).movedim(0, self.batch)


@dataclass(frozen=True)
class Auto:
    """Channels for maps and tokens, elements for vectors; resolved to either when a network is recorded."""

    name = "auto"
    labels = None

    def read(self, output: Tensor, module: nn.Module | None = None, mask: Tensor | None = None) -> Tensor:
        """As `Channels` for three axes or more, as `Elements` for fewer; see `Units.read`."""
        return _resolve(self, output).read(output, module, mask)

    def spread(self, values: Tensor, like: Tensor, module: nn.Module | None = None) -> Tensor:
        """As `Channels` or `Elements`; see `Units.spread`."""
        return _resolve(self, like).spread(values, like, module)


@dataclass(frozen=True)
class Token(_Named):
    """One neuron per channel at one token, such as the class token of a vision transformer.

    Attributes
    ----------
    position : int
        Of the token; negative numbers count from the end.
    batch : int
        The axis of the output (batch, tokens, channels) that counts the inputs, 0 or 1.
    names : sequence of str, optional
        Of the channels.
    """

    position: int = 0
    batch: int = 0
    name = "token"

    def read(self, output: Tensor, module: nn.Module | None = None, mask: Tensor | None = None) -> Tensor:
        """Select the token; see `Units.read`. Positions count from the first or last real token where masked."""
        if output.ndim != 3 or not -output.shape[1 - self.batch] <= self.position < output.shape[1 - self.batch]:
            raise InputError(
                f"Token({self.position}) needs an output (batch, tokens, channels) with such a token; got"
                f" {tuple(output.shape)}."
            )
        moved = output.movedim(self.batch, 0)
        if mask is None or mask.shape != moved.shape[:2]:
            return moved[:, self.position]
        mask = mask.to(moved.device).long()
        last = (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).amax(1)
        start = mask.argmax(1) if self.position >= 0 else last
        return moved[torch.arange(len(moved)), (start + self.position).clamp(0, mask.shape[1] - 1)]

    def spread(self, values: Tensor, like: Tensor, module: nn.Module | None = None) -> Tensor:
        """Give the token's elements their values, and zero to all other tokens; see `Units.spread`."""
        moved = like.movedim(self.batch, 0)
        spread = torch.zeros(len(values) if values.ndim == 2 else 1, *moved.shape[1:], dtype=values.dtype)
        spread = spread.to(values.device)
        spread[:, self.position] = values
        return spread.movedim(0, self.batch)


@dataclass(frozen=True, repr=False)
class Encoder(ShortRepr):
    """Neurons that a function computes from a layer's output, such as the latents of a sparse autoencoder.

    Attributes
    ----------
    encode : callable
        (batch, ...) -> (batch, k).
    decode : callable, optional
        (batch, k) -> (batch, ...), for interventions; without it, these neurons cannot be replaced.
    names : sequence of str, optional
        Of the k neurons.
    """

    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor] | None = None
    names: Sequence[str] | None = field(default=None, repr=False, compare=False)
    name = "callable"

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", _checked_names(self.names))

    @property
    def labels(self) -> Sequence[str] | None:
        """Names of the neurons."""
        return self.names

    def read(self, output: Tensor, module: nn.Module | None = None, mask: Tensor | None = None) -> Tensor:
        """Apply the function; see `Units.read`."""
        try:
            neurons = self.encode(output)
        except Exception as error:  # a function of the user's may raise anything
            raise InputError(
                f"The function for the neurons does not take an output {tuple(output.shape)}:"
                f" {type(error).__name__}: {error}."
            ) from error
        if not isinstance(neurons, Tensor) or neurons.ndim != 2 or len(neurons) != len(output):
            got = f"shape {tuple(neurons.shape)}" if isinstance(neurons, Tensor) else type(neurons).__name__
            raise InputError(
                f"The function for the neurons must map {tuple(output.shape)} to ({len(output)}, k); it gave {got}."
            )
        return neurons

    def spread(self, values: Tensor, like: Tensor, module: nn.Module | None = None) -> Tensor:
        """Decode the values; see `Units.spread`."""
        if self.decode is None:
            raise InputError("Neurons of a function need decode= to be put back into the layer's output.")
        decoded = self.decode(values if values.ndim == 2 else values[None])
        return decoded.reshape(-1, *like.shape[1:])


UNITS: dict[str, Callable[[], Units]] = {"auto": Auto, "channel": Channels, "element": Elements}
_KINDS: dict[str, Callable[..., Units]] = {"auto": Auto, "channel": Channels, "element": Elements, "token": Token}
Neurons = str | Units | Callable[[Tensor], Tensor]


def as_units(neurons: Any, layer: str = "") -> Units:
    """Read what was given for ``neurons=``: a name, units or a function.

    Raises
    ------
    InputError
        For anything else.
    """
    if isinstance(neurons, str) and neurons in UNITS:
        return UNITS[neurons]()
    if isinstance(neurons, Units):
        return neurons
    if callable(neurons):
        return Encoder(neurons)
    raise InputError(
        f"neurons={neurons!r} for layer '{layer}': expected one of {', '.join(map(repr, UNITS))}, units such as"
        " Channels(axis=1) or Token(0), or a callable (batch, ...) -> (batch, k)."
    )


def units_of(layers: Sequence[str], neurons: Any) -> dict[str, Units]:
    """Give each layer its units, from one value for all or a mapping of layer to value."""
    if not isinstance(neurons, Mapping):
        return {layer: as_units(neurons, layer) for layer in layers}
    for layer in neurons:
        if layer not in layers:
            raise InputError(f"neurons= names '{layer}', which is not recorded.{closest(layer, layers)}")
    return {layer: as_units(neurons.get(layer, "auto"), layer) for layer in layers}


def neuron_names(units: Units | None, k: int) -> list[str]:
    """Names of k neurons, as in tables: those that units give, with the number where two are the same; else numbers.

    >>> neuron_names(Elements(names=["age", "dose", "age"]), 3), neuron_names(Elements(), 2)
    (['age (0)', 'dose', 'age (2)'], ['0', '1'])
    """
    labels = None if units is None else units.labels
    if labels is None or len(labels) != k:
        return [str(neuron) for neuron in range(k)]
    times = Counter(map(str, labels))
    return [str(label) if times[str(label)] == 1 else f"{label} ({i})" for i, label in enumerate(labels)]


def replaceable(units: Units) -> bool:
    """Whether neurons of these units can be put back into the layer's output."""
    return not isinstance(units, Encoder) or units.decode is not None


def units_to_facts(units: Units) -> dict[str, Any]:
    """Describe units as JSON; functions are not kept."""
    if isinstance(units, Auto | Channels | Elements | Token):
        return {"name": units.name, **asdict(units)}
    return {"name": units.name, "labels": None if units.labels is None else list(units.labels)}


def units_from_facts(facts: Mapping[str, Any] | str) -> Units:
    """Rebuild units from their description; those of functions can name neurons, not read them."""
    held = {"name": facts} if isinstance(facts, str) else dict(facts)
    name = held.pop("name")
    if name in _KINDS:
        return _KINDS[name](**held)

    return Encoder(_lost, None, held.get("labels"))


def _lost(output: Tensor) -> Tensor:
    raise InputError("The neurons were recorded by a function, which is not saved; give it again, neurons=.")


def readable(units: Units) -> bool:
    """Whether units can read a layer's output; those of a function that was not saved cannot."""
    return not (isinstance(units, Encoder) and units.encode is _lost)


def neurons_of(output: Any, units: Units, module: nn.Module | None, layer: str, mask: Tensor | None = None) -> Tensor:
    """Read the neurons of one call of one module, without their graph.

    Returns
    -------
    Tensor
        (batch, k), float32, with memory of its own: an in-place module further on cannot change it.

    Raises
    ------
    InputError
        When the module returns no tensor, or a function something that is not (batch, k).
    """
    tensor, mask = output_tensor(output, layer, mask)
    tensor = tensor.detach()
    try:
        neurons = units.read(tensor, module, mask)
    except InputError as error:
        raise InputError(f"Layer '{layer}': {error}") from error
    if not isinstance(neurons, Tensor) or neurons.ndim != 2:
        got = f"shape {tuple(neurons.shape)}" if isinstance(neurons, Tensor) else type(neurons).__name__
        raise InputError(f"Layer '{layer}': neurons must be (batch, k); '{units.name}' gave {got}.")
    if units.labels is not None and len(units.labels) != neurons.shape[1]:
        raise InputError(f"Layer '{layer}': {len(units.labels)} names were given for {neurons.shape[1]} neurons.")
    # A view, of the module's output or of what a function was given, would change with the next in-place module.
    shares = neurons.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr()
    return neurons.detach().to(torch.float32, copy=shares)


def output_tensor(output: Any, layer: str, mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """Find the tensor that a module returned, padded and with its mask where it is a nested one."""
    try:
        tensor = first_tensor(output)
    except TypeError as error:
        raise InputError(f"Layer '{layer}' returns {error}; record a module inside it instead.") from None
    if tensor.is_nested:
        lengths = torch.tensor([part.shape[0] for part in tensor.unbind()])
        tensor = torch.nested.to_padded_tensor(tensor, 0.0)
        mask = torch.arange(tensor.shape[1])[None] < lengths[:, None]
    if tensor.ndim == 0:
        raise InputError(f"Layer '{layer}' returns a single number, not (batch, ...); record another module.")
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    return tensor, mask


_CHANNELS_LAST = (nn.Linear, nn.Embedding, nn.MultiheadAttention)
_CHANNELS_FIRST = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.GroupNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.LPPool1d, nn.LPPool2d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
)


def channel_axis(module: nn.Module | None, output: Tensor) -> int | None:
    """Which axis of a module's output counts its channels, where the module's type decides it; None elsewhere."""
    if output.ndim <= 2 or isinstance(module, _CHANNELS_FIRST):
        return 1
    if isinstance(module, nn.LayerNorm) and output.shape[-1] == module.normalized_shape[-1] != output.shape[1]:
        return output.ndim - 1
    if isinstance(module, _CHANNELS_LAST):
        return output.ndim - 1
    return None


def resolve(units: Units, output: Tensor, batch: int, axis: int | None) -> Units:
    """Fix what `Auto` and `Channels` leave open, for the outputs of one layer.

    Parameters
    ----------
    units : Units
        As asked for.
    output : Tensor
        An output of the layer.
    batch : int
        The axis that counts the inputs.
    axis : int or None
        The axis that counts the channels, if it is known.
    """
    units = _resolve(units, output)
    if isinstance(units, Channels) and output.ndim > 2:
        return replace(units, axis=axis if units.axis is None else units.axis % output.ndim, batch=batch)
    if isinstance(units, Channels | Elements | Token):
        return replace(units, batch=batch)
    return units


def _resolve(units: Units, output: Tensor) -> Units:
    if not isinstance(units, Auto):
        return units
    return Channels() if output.ndim >= 3 else Elements()
