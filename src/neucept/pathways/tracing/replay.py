"""Record a forward pass as a list of function calls, and run only the part after one site again.

Calls that cannot be run again faithfully are detected while recording. `Replay.after` then returns None for the sites
that they affect, and the caller runs the whole network for those.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neucept.batches import Batch, map_tree, tensors_of
from neucept.pathways.tracing.activations import in_place, out_of_place
from neucept.pathways.tracing.calls import Calls
from neucept.pathways.tracing.network import Network

# Affine in their first argument, the others being constant; and affine in all their arguments.
_AFFINE_IN_FIRST = frozenset(
    {"linear", "conv1d", "conv2d", "conv3d", "batch_norm", "avg_pool2d", "adaptive_avg_pool2d", "mean"}
    | {"flatten", "view", "reshape", "permute", "transpose", "contiguous"}
)
_AFFINE_IN_ALL = frozenset({"add", "sub", "cat"})

# These read a tensor's properties, not its values: reading them while recording is safe.
_SHAPE = frozenset(
    {"__get__", "__len__", "__hash__", "size", "dim", "ndimension", "numel", "nelement", "stride", "storage_offset"}
    | {"is_contiguous", "is_floating_point", "is_complex", "is_signed", "is_same_size", "is_inference"}
    | {"get_device", "element_size", "type", "data_ptr"}
)

_DATA = torch.Tensor.data.__get__  # type: ignore[attr-defined]


@dataclass(frozen=True)
class _Slot:
    """The place of one tensor's value between two writes."""

    number: int


@dataclass(frozen=True)
class _Step:
    """One function call, its tensors replaced by slots."""

    func: Callable[..., Any]
    given: Any  # (args, kwargs)
    reads: tuple[int, ...]
    writes: dict[int, int]  # slots of tensors that are overwritten, and the slots of what they hold afterwards
    gives: tuple[int, ...]
    faithful: bool  # whether it can be run again on other values

    def affine_in(self, changing: set[int], affine: set[int]) -> bool:
        """Return whether the call is affine in the slots that change, all of which must be affine themselves."""
        name = getattr(self.func, "__name__", "").rstrip("_").removeprefix("__i").removeprefix("__")
        args = self.given[0]
        if not changing <= affine:
            return False
        if name == "batch_norm" and args[5:6] != (False,):  # statistics of the batch, not the learned ones
            return False
        return name in _AFFINE_IN_ALL or (
            name in _AFFINE_IN_FIRST and {_Slot(slot) for slot in changing} == {*args[:1]}
        )


@dataclass(frozen=True)
class Remainder:
    """The part of a network between a site and the logits, in two pieces.

    ``head`` goes from the site's output to some tensors between and is affine; ``tail`` goes from those to the logits.
    """

    head: Callable[[Tensor], list[Tensor]]
    tail: Callable[[list[Tensor]], Tensor]


@dataclass
class _Value:
    tensor: Tensor
    version: int


class Replay(Calls):
    """The function calls of one forward pass of a network.

    Parameters
    ----------
    network : Network
        In evaluation mode, with gradients on.
    inputs : Batch
        What runs again must have as many rows: sizes are part of the record.
    """

    def __init__(self, network: Network, inputs: Batch) -> None:
        super().__init__(self._note, inputs.n, network.activations, known=network.known)
        self._sites: dict[str, tuple[int, int]] = {}  # the step and the slot of each
        self._steps: list[_Step] = []
        self._slots: list[_Value] = []
        self._shapes: list[torch.Size] = []  # of the slots
        self._slot_of: dict[int, int] = {}  # by the id of a tensor, which the slots keep alive
        self._blocked = -1  # the last step that reads values of unknown origin
        self._autocast = _autocast()
        for tensor in tensors_of([inputs.tree, *(list(vars(module).values()) for module in network.model.modules())]):
            self._bind(tensor)
        logits = network.run(inputs, self)
        self._logits = self._slot_of.get(id(logits), -1)
        # Detached, so that nothing is saved for gradients that are not needed; None for what was overwritten.
        self._constants: list[Any] = [
            slot.tensor.detach() if slot.tensor._version == slot.version else None for slot in self._slots
        ]
        self._slots.clear()
        self._slot_of.clear()

    def batched(self, short: Replay) -> set[int]:
        """Return the slots with the batch on their first axis, given a record of the same calls on fewer inputs."""
        functions = [[step.func for step in replay._steps] for replay in (self, short)]
        if functions[0] != functions[1] or len(self._shapes) != len(short._shapes):
            return set()
        pairs = enumerate(zip(self._shapes, short._shapes, strict=True))
        return {
            slot for slot, (long, few) in pairs if few and long == (few[0] * self.n_inputs // short.n_inputs, *few[1:])
        }

    def after(self, raw: str, batched: Collection[int] = ()) -> Remainder | None:
        """Return the part of the network between a site and the logits; None where the record does not hold it.

        Parameters
        ----------
        raw : str
            The site.
        batched : set of int
            As `batched` returns it. Affine calls that follow the site go into ``head`` as long as they fill such slots;
            without slots, ``head`` is empty.
        """
        first, site = self._sites[raw]
        if first < self._blocked or self._logits < 0:
            return None
        known, affine = {site}, {site}
        head: list[_Step] = []
        tail: list[_Step] = []
        for step in self._steps[first + 1 :]:
            if known.isdisjoint(step.reads):
                continue
            known.update(made := {*step.gives, *step.writes.values()})
            if not step.faithful or any(slot not in known and self._constants[slot] is None for slot in step.reads):
                return None
            if made.issubset(batched) and step.affine_in(known.intersection(step.reads) - made, affine):
                head.append(step)
                affine |= made
            else:
                tail.append(step)
        if self._logits not in known:
            return None
        needed = {self._logits}.union(*(step.reads for step in tail))
        between = sorted(affine & needed)

        def run_head(value: Tensor) -> list[Tensor]:
            values = self._run(head, {site: value})
            return [values[slot] for slot in between]

        def run_tail(given: list[Tensor]) -> Tensor:
            logits: Tensor = self._run(tail, dict(zip(between, given, strict=True)))[self._logits]
            return logits

        return Remainder(run_head, run_tail)

    def _run(self, steps: list[_Step], values: dict[int, Any]) -> dict[int, Any]:
        for step in steps:
            read = {slot: values.get(slot, self._constants[slot]) for slot in step.reads}
            read |= {slot: read[slot].clone() for slot in step.writes}
            args, kwargs = _fill(step.given, read)
            result = step.func(*args, **kwargs)
            values.update(zip(step.gives, tensors_of(result), strict=True))
            values.update({after: read[before] for before, after in step.writes.items()})
        return values

    def other(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Call a function and record it."""
        slots = self._slots_of(args, kwargs)
        result = func(*args, **kwargs)
        self._step(func, (args, kwargs), slots, result)
        return result

    def activation(self, name: str, func: Any, args: Any, kwargs: Any) -> Any:
        """Call an activation function and record it, in place or not, as if not in place."""
        slots = self._slots_of(args, kwargs)
        output = out_of_place(func, args, kwargs)
        self._step(out_of_place, ((func, args, kwargs), {}), slots, output)
        result = self.visit_call(name, output)
        if not in_place(func, kwargs):
            return result
        written: Tensor = (args[0] if args else kwargs["input"]).copy_(result)
        slot = self._slot_of.pop(id(output))
        self._slots[slot] = _Value(written, written._version)
        self._slot_of[id(written)] = slot
        return written

    def _note(self, raw: str, output: Tensor) -> Tensor:
        self._sites[raw] = (len(self._steps) - 1, self._slot_of[id(output)])
        return output

    def _bind(self, tensor: Tensor) -> int:
        number = len(self._slots)
        self._slots.append(_Value(tensor, tensor._version))
        self._shapes.append(tensor.shape)
        self._slot_of[id(tensor)] = number
        return number

    def _slots_of(self, args: Any, kwargs: Any) -> dict[int, int]:
        """Return the slot of every tensor that a function is given, by the tensor's id."""
        slots = {}
        for tensor in tensors_of((args, kwargs)):
            slot = self._slot_of.get(id(tensor))
            if slot is None or self._slots[slot].version != tensor._version:
                # Not made by a recorded function, or overwritten through another tensor: its origin is unknown.
                self._blocked = len(self._steps)
                slot = self._bind(tensor)
            slots[id(tensor)] = slot
        return slots

    def _step(self, func: Any, given: tuple[Any, Any], slots: dict[int, int], result: Any) -> None:
        returned = list(tensors_of(result))
        if _autocast() != self._autocast:
            self._blocked = len(self._steps)
        template = map_tree(lambda tensor: _Slot(slots[id(tensor)]), given)
        old = {slot: self._slots[slot] for slot in slots.values()}
        writes = {slot: self._bind(one.tensor) for slot, one in old.items() if one.tensor._version != one.version}
        written = {id(old[slot].tensor): after for slot, after in writes.items()}
        gives = tuple(written[id(tensor)] if id(tensor) in written else self._bind(tensor) for tensor in returned)
        # A call that returns no tensor and writes none has read values, unless it is known to read properties only.
        reads_values = not gives and not writes
        if reads_values and getattr(func, "__name__", "") in _SHAPE:
            return
        faithful = torch.is_grad_enabled() and not reads_values and func != _DATA
        self._steps.append(_Step(func, template, tuple(slots.values()), writes, gives, faithful))


def _fill(template: Any, values: dict[int, Any]) -> Any:
    """Replace slots by values."""
    if isinstance(template, _Slot):
        return values[template.number]
    if isinstance(template, dict):
        return {key: _fill(part, values) for key, part in template.items()}
    if isinstance(template, tuple):
        return tuple(_fill(part, values) for part in template)
    return [_fill(part, values) for part in template] if isinstance(template, list) else template


def _autocast() -> tuple[bool, bool]:
    return torch.is_autocast_enabled("cuda"), torch.is_autocast_enabled("cpu")
