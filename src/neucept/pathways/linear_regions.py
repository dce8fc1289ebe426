"""The linear region of one input: the functions that bound it, and their values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from neucept.batches import Batch
from neucept.errors import InputError
from neucept.pathways.tracing.activations import out_of_place
from neucept.pathways.tracing.calls import Calls
from neucept.pathways.tracing.network import Network, Values
from neucept.pathways.tracing.sites import never_called, readable_names

_POOL = re.compile(r"(adaptive_)?max_pool([123])d(_with_indices)?")
_AFFINE = 1e-8  # deviation from affine, in units of the largest value, that is more than rounding


class LinearRegion(Calls):
    """The linear region of a network, whole or masked, in which one input lies, extended to all inputs.

    The first `run` takes that input and notes which linear part of each activation and which entry of each pooling
    window is active. Every further run uses the same ones, wherever its inputs lie, and so is affine.

    Parameters
    ----------
    network : Network
        In evaluation mode, in double precision.
    kept : mapping of str to Tensor
        Masks by raw site, (1, *shape) bool; sites without a mask are kept whole.

    Attributes
    ----------
    values : dict of str to Tensor
        The bounding functions in the last run, (rows, ...): the inputs of each site's activations, by raw name; and
        for each max pooling every entry of a window minus its largest, (rows, *outputs, entries).
    gaps, signs : dict of str to Tensor
        (1, ...) distance of each function from its breakpoint at the input, infinite if it has none, and whether it
        must rise (1) or fall (-1) to get there.
    neurons, inactive : int
        Number of kept neurons, and of those among them that are zero at the input.
    """

    def __init__(self, network: Network, kept: Mapping[str, Tensor]) -> None:
        super().__init__(self._site, 1, network.activations, known=network.known)
        self.network = network
        self.kept = kept
        self.values: Values = {}
        self.gaps: Values = {}
        self.signs: Values = {}
        self.neurons = self.inactive = 0
        self._lines: dict[str, tuple[Tensor, Tensor, Tensor]] = {}  # input, output and slope of each site
        self._windows: dict[str, tuple[Tensor, Tensor]] = {}  # entries of each window, and the largest one
        self._call: tuple[Any, ...] = ()

    def run(self, inputs: Tensor) -> Tensor:
        """Return the logits of the extended region, (rows, C)."""
        noting = not self._lines
        self.values = {}
        self.n_inputs = len(inputs)
        logits = self.network.run(Batch(inputs), self)
        if noting and (missing := set(self.kept) - set(self._lines)):
            raise never_called(min(missing))
        return logits

    def check(self, x: Tensor) -> None:
        """Check on both sides of the input, far away, that nothing but the sites and pools is nonlinear.

        Raises
        ------
        InputError
            When something is, with the first site or pool after it.
        """
        generator = torch.Generator().manual_seed(0)
        anchors = self.values
        for _ in range(2):
            away = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device) * x.abs().max().clamp_min(1.0)
            logits = self.run(torch.cat([x - away, x, x + away]))
            for name, value in {**self.values, "": logits}.items():
                deviation = (value[0] + value[2] - 2 * value[1]).abs()
                if deviation.numel() and float(deviation.max()) > _AFFINE * float(value.abs().max()):
                    before = f"before '{self.readable_name(name)}'" if name else "after the last site"
                    raise InputError(
                        f"The network is not piecewise linear: something {before} that is neither an activation nor max"
                        " pooling is not affine (such as softmax, sigmoid, layer normalisation, abs or clamp)."
                    )
        self.values = anchors

    def readable_name(self, name: str) -> str:
        """Return the readable name of a site or a pool."""
        return readable_names([*self._lines, *self._windows])[name]

    def activation(self, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        """Call an activation function; `_site` needs its arguments."""
        self._call = (name, func, args, kwargs)
        return super().activation(name, func, args, kwargs)

    def other(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Call a function that is no activation; a max pooling takes the noted entries."""
        result = func(*args, **kwargs)
        pool = _POOL.fullmatch(getattr(func, "__name__", ""))
        if pool is None or not self._inside:
            return result
        pooled = result[0] if isinstance(result, tuple) else result
        taken = self._pool(pool, pooled, *args, **kwargs)
        return (taken, *result[1:]) if isinstance(result, tuple) else taken

    def _site(self, raw: str, output: Tensor) -> Tensor:
        name, _, args, kwargs = self._call
        given: Tensor = args[0] if args else kwargs["input"]
        if raw not in self._lines:
            self._note(raw, output, given, _breakpoints(name, raw, args, kwargs))
        self.values[raw] = given.clone()  # the input may be overwritten, here or later
        start, value, slope = self._lines[raw]
        return value + slope * (given - start)

    def _note(self, raw: str, output: Tensor, given: Tensor, breakpoints: list[float]) -> None:
        _, func, args, kwargs = self._call
        with torch.enable_grad():
            leaf = given.detach().clone().requires_grad_()
            again = out_of_place(func, (leaf, *args[1:]), {k: v for k, v in kwargs.items() if k != "input"})
            slope = torch.autograd.grad(again.sum(), leaf)[0]
        kept = self.kept.get(raw, torch.ones_like(output, dtype=torch.bool))
        if kept.shape != output.shape:
            raise InputError(
                f"The pathway's mask of '{raw}' is {tuple(kept.shape[1:])}, its activations {tuple(output.shape[1:])}:"
                " give the model that was scored."
            )
        self._lines[raw] = (leaf.detach(), output.detach() * kept, slope * kept)
        above = torch.stack([given.detach() - point for point in breakpoints])
        nearest = above.gather(0, above.abs().argmin(0, keepdim=True))[0]
        self.gaps[raw] = torch.where(kept, nearest.abs(), torch.inf)
        self.signs[raw] = torch.where(nearest > 0, -1.0, 1.0).to(given.dtype)
        self.neurons += int(kept.sum())
        self.inactive += int((kept & (output == 0)).sum())

    def _pool(
        self,
        pool: re.Match[str],
        pooled: Tensor,
        given: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Tensor:
        """Take from each window the entry that is largest at the input; arguments as of PyTorch's poolings."""
        dims = int(pool[2])
        path = self._inside[-1][0]
        base = f"{path} ({pool[0].removesuffix('_with_indices')})".lstrip()
        raw = f"{base}#{self._counts[base]}"
        self._counts[base] += 1
        outer, sizes, counts = given.shape[:-dims], given.shape[-dims:], pooled.shape[-dims:]
        noting = raw not in self._windows
        if noting:
            index = (
                _adaptive(sizes, counts)
                if pool[1]
                else _regular(sizes, counts, kernel_size, stride or kernel_size, padding, dilation)
            )
            self._windows[raw] = (index.to(given.device), torch.empty(0))
        index, largest = self._windows[raw]
        flat = given.reshape(*outer, -1)
        entries = flat[..., index.clamp_min(0)]  # (..., windows, entries)
        if noting:
            outside = torch.where(index < 0, -torch.inf, 0.0).to(given.dtype)
            largest = (entries.detach() + outside).argmax(-1, keepdim=True)
            self._windows[raw] = (index, largest)
        taken = entries.gather(-1, largest.expand(*outer, -1, 1))
        shape = (*outer, *counts, index.shape[1])
        self.values[raw] = (entries - taken).reshape(shape)
        if noting:
            places = torch.arange(index.shape[1], device=given.device)
            bounding = (index >= 0) & (places != largest)
            self.gaps[raw] = torch.where(bounding.reshape(shape), self.values[raw].detach().abs(), torch.inf)
            self.signs[raw] = torch.ones_like(self.gaps[raw])
        return taken.reshape(pooled.shape)


def _breakpoints(name: str, raw: str, args: Any, kwargs: Any) -> list[float]:
    """Return the breakpoints of a piecewise linear activation function."""
    named = dict(zip(("input", "min_val", "max_val"), args, strict=False)) | kwargs
    if name == "hardtanh":
        return [float(named.get("min_val", -1.0)), float(named.get("max_val", 1.0))]
    if name == "softshrink":
        apart = float(kwargs.get("lambd", args[1] if len(args) > 1 else 0.5))
        return [-apart, apart]
    known = {"relu": [0.0], "leaky_relu": [0.0], "prelu": [0.0], "rrelu": [0.0], "relu6": [0.0, 6.0]}
    known["hardsigmoid"] = [-3.0, 3.0]
    if name not in known:
        raise InputError(
            f"The site '{raw.removesuffix('#0')}' calls {name}, which is not piecewise linear, so the response is not"
            f" affine around any input. Expected one of {', '.join(sorted([*known, 'hardtanh', 'softshrink']))}."
        )
    return known[name]


def _regular(sizes: torch.Size, counts: torch.Size, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Tensor:
    """Return the entries of the windows of a max pooling, (windows, entries), by flat position; -1 outside."""
    places = []
    for dim, (size, count) in enumerate(zip(sizes, counts, strict=True)):
        k, s, p, d = (each if isinstance(each, int) else each[dim] for each in (kernel, stride, padding, dilation))
        at = torch.arange(count)[:, None] * s - p + torch.arange(k) * d
        places.append(torch.where((at >= 0) & (at < size), at, -1))
    return _flat_positions(places, sizes)


def _adaptive(sizes: torch.Size, counts: torch.Size) -> Tensor:
    """Return the entries of the windows of an adaptive max pooling, as `_regular`."""
    places = []
    for size, count in zip(sizes, counts, strict=True):
        first = torch.arange(count) * size // count
        behind = -(-(torch.arange(count) + 1) * size // count)
        at = first[:, None] + torch.arange(int((behind - first).max()))
        places.append(torch.where(at < behind[:, None], at, -1))
    return _flat_positions(places, sizes)


def _flat_positions(places: list[Tensor], sizes: torch.Size) -> Tensor:
    """Combine the positions along each axis, (count, k) each, to flat ones."""
    flat = torch.zeros(1, 1, dtype=torch.long)
    for at, size in zip(places, sizes, strict=True):
        outside = (flat < 0)[:, None, :, None] | (at < 0)[None, :, None, :]
        combined = torch.where(outside, -1, flat[:, None, :, None] * size + at[None, :, None, :])
        flat = combined.reshape(len(flat) * len(at), -1)
    return flat
