"""The subject of a command: a network, its inputs and some layers, checked before any work."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

import neucept
from neucept.analysis.accuracy import implausible
from neucept.calibration.layer import FEWEST_INPUTS
from neucept.cli.arguments import floats, words
from neucept.cli.printing import print_accuracy
from neucept.cli.terminal import console
from neucept.datasets import ImageDataset, UnlabelledImages, load_data
from neucept.errors import InputError, closest
from neucept.models import default_layers, early_layer, load_function, load_model, preprocessing
from neucept.recording import list_layers
from neucept.recording.hooks import left_as_found
from neucept.recording.outputs import logits_of
from neucept.recording.task import Regression


@dataclass(frozen=True)
class Inputs:
    """Where pictures come from and how they are prepared, as the options say it."""

    data: Path
    split: str | None = None
    limit: int | None = None
    size: int | None = None
    channels: int | None = None
    mean: str | None = None
    std: str | None = None
    transform: str | None = None
    classes: str | None = None
    skip_unreadable: bool = False
    seed: int = 0
    scale: str | None = None
    classes_in_order: bool = False

    def load(self, spec: str, model: nn.Module, pretrained: bool = False) -> ImageDataset:
        """Load them with the transform asked for, or the one that the published network was trained with.

        Warns where a network with its published weights would get pixels that are not normalised.
        """
        pictures = load_data(self.data, **self._options(spec, model, pretrained))
        names = class_names(self.classes)
        return pictures if names is None else _numbered(pictures, names, self.classes_in_order)

    def load_new(self, spec: str, model: nn.Module, names: Sequence[str]) -> ImageDataset | UnlabelledImages:
        """Load new inputs of a run, whose classes are ``names``: with their labels where they have some of these.

        Capitals, spaces, hyphens and underscores do not matter. Warns where the data have a class that is no other.
        """
        pictures = load_data(self.data, labels="optional", **self._options(spec, model))
        if isinstance(pictures, UnlabelledImages):
            return pictures
        known = {_key(name): number for number, name in enumerate(names)}
        strange = [name for name in pictures.class_names if _key(name) not in known]
        if strange or len(known) < len(names):
            warnings.warn(
                f"The class '{(strange or [names[0]])[0]}' of the new data is none of the run, or one of two; the data"
                f" are taken without labels.{closest(strange[0], list(names)) if strange else ''}",
                stacklevel=1,
            )
            return pictures.without_labels()
        number = np.array([known[_key(name)] for name in pictures.class_names])
        return pictures.relabel(number[pictures.labels], list(names))

    def _options(self, spec: str, model: nn.Module, pretrained: bool = False) -> dict[str, Any]:
        """Give the arguments of `load_data`, with the transform."""
        function = load_function(self.transform) if self.transform is not None else None
        published = preprocessing(spec, model) if function is None else None
        if published is not None and all(given is None for given in (self.size, self.mean, self.std)):
            function = published
            console.print(f"Images are prepared as {spec} asks; --size, --mean and --std replace that.", markup=False)
        elif published is not None and pretrained and (self.mean is None or self.std is None):
            warnings.warn(
                f"--size, --mean and --std replace what {spec} asks, so pixels are not normalised as for its published"
                " weights. Give all three, or none.",
                stacklevel=1,
            )
        return {
            "split": self.split,
            "limit": self.limit,
            "size": self.size,
            "channels": self.channels,
            "mean": floats(self.mean),
            "std": floats(self.std),
            "scale": floats(self.scale),
            "transform": function,
            "on_unreadable": "skip" if self.skip_unreadable else "error",
            "seed": self.seed,
        }


def _key(name: str) -> str:
    """Bring a class name to what does not depend on how it is written."""
    return re.sub(r"[\s_-]+", " ", name.casefold()).strip()


def _numbered(pictures: ImageDataset, names: list[str], in_order: bool) -> ImageDataset:
    """Give classes the numbers of their names where the data have these, in any order; rename them where asked.

    Capitals, spaces, hyphens and underscores do not matter where names differ by more than them. Classes whose names
    are numbers are those of the outputs.
    """
    own, known = list(pictures.class_names), list(names)
    if all(len({_key(name) for name in some}) == len(some) for some in (names, own)):
        own, known = [_key(name) for name in own], [_key(name) for name in names]
    strange = [name for name, key in zip(pictures.class_names, own, strict=True) if key not in known]
    if not strange:
        number = np.array([known.index(name) for name in own])
        return pictures.relabel(number[pictures.labels], names)
    if len(strange) < len(own):
        raise InputError(f"The class '{strange[0]}' of the data is not among --classes.{closest(strange[0], names)}")
    if not in_order and not all(name.isdigit() for name in own):
        pairs = ", ".join(f"'{a}' is '{b}'" for a, b in list(zip(pictures.class_names, names, strict=False))[:5])
        raise InputError(
            f"No class of the data is among --classes: the data have {', '.join(pictures.class_names[:5])}. Name them"
            f" as the data do, or say --classes-in-order if they are in the same order ({pairs})."
        )
    return pictures.relabel(pictures.labels, names)


def class_names(text: str | None) -> list[str] | None:
    """Read ``--classes``: names with commas between, or a file of them.

    A file has one name per line, or is JSON: a list, or a mapping of numbers to names or to [id, name], of which the
    name counts.
    """
    if text is None or not Path(text).is_file():
        return words(text)
    try:
        content = Path(text).read_text("utf-8")
        if Path(text).suffix.lower() != ".json":
            return [line.strip() for line in content.splitlines() if line.strip()]
        held = json.loads(content)
        if isinstance(held, dict):
            held = [held[str(number)] for number in range(len(held))]
        return [str(one[-1]) if isinstance(one, list) else str(one) for one in held]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"--classes {text}: expected one name per line, a JSON list of names, or a JSON mapping of the numbers 0,"
            f" 1, ... to names ({type(error).__name__}: {error})."
        ) from error


@dataclass(frozen=True)
class Subject:
    """A network, its pictures, and the layers to analyse."""

    network: nn.Module
    pictures: ImageDataset
    layers: list[str]
    class_names: list[str] | None
    device: str | None
    output: str | int | None = None
    task: str = "auto"
    outputs: int = 0
    watched: tuple[str, ...] = ()  # an early layer, which tells inputs that are unlike all

    @classmethod
    def of(
        cls,
        spec: str,
        weights: str | None,
        n_classes: int | None,
        inputs: Inputs,
        layers: str | None,
        target: str | Sequence[str] | None,
        device: str | None,
        output: str | None = None,
        task: str = "auto",
    ) -> Subject:
        """Load a network and its pictures; check on one input that layers, target and class names fit."""
        network = load_model(spec, weights, n_classes)
        if weights is None and spec.startswith(("torchvision:", "timm:")):
            warnings.warn("No weights are given: this network is untrained. Use --weights.", stacklevel=1)
        pictures = inputs.load(spec, network, pretrained=weights == "pretrained")
        example = pictures[0][0][None]
        table = layers_of(network, example)
        way = int(output) if output is not None and output.removeprefix("-").isdigit() else output
        chosen = words(layers) or default_layers(table, _n_outputs(network, example, way))
        if layers is None:
            console.print(f"Layers: {', '.join(chosen)} (chosen; others with --layers, see 'neucept layers').")
        early = early_layer(table)
        watched = () if early is None else (early,)
        subject = cls(network, pictures, chosen, class_names(inputs.classes), device, way, task, watched=watched)
        first = subject._record(pictures.take([0]), 1)
        for one in [] if target is None else [target] if isinstance(target, str) else target:
            first.class_number(one)
        return replace(subject, outputs=len(first.class_names))

    @cached_property
    def recorded(self) -> Any:
        """The pictures, with their labels where these are classes of the model."""
        return self.pictures if self.has_labels() else self.pictures.without_labels()

    def record(
        self, batch_size: int, target: str | None, most: int | None = None, store: Path | None = None
    ) -> tuple[neucept.Recording, int | str]:
        """Record all pictures, and find the class given as the target, or the one most predicted.

        With ``store`` the recording is kept there; one that is there is checked, and used. The accuracy is printed,
        with a warning where it is implausible.

        Raises
        ------
        InputError
            Fewer inputs are predicted as the class than are needed, or than ``most``, the number of mechanisms.
        """
        if most is not None and most > len(self.pictures):
            raise InputError(f"{most} mechanisms were asked of {len(self.pictures)} inputs; ask for fewer.")
        if store is not None and store.exists():
            recording = neucept.Recording.open(store)
            recording.verify(self.network, self.recorded, self.output)
            console.print(f"The recording in {store.parent} is used.", markup=False, highlight=False)
        else:
            recording = self._record(self.recorded, batch_size, store)
        print_accuracy(recording)
        if doubt := implausible(recording):
            warnings.warn(doubt, stacklevel=1)
        targets: Sequence[int | str] = range(len(recording.class_names))
        if isinstance(recording.task, Regression):
            targets = ("highest tenth", "lowest tenth")
        counts = {one: len(recording.samples(one)) for one in targets}
        most_predicted = sorted(counts, key=lambda one: -counts[one])[:10]
        number = recording.class_number(target if target is not None else most_predicted[0])
        name, found = recording.target_name(number), len(recording.samples(number))
        how = "" if target is not None else " (the one predicted most; others with --target)"
        console.print(
            f"Target: '{name}'{how}, predicted for {found} of {len(recording)} inputs.", markup=False, highlight=False
        )
        if found < FEWEST_INPUTS:
            counted = ", ".join(f"'{recording.target_name(one)}' {counts[one]}" for one in most_predicted)
            raise InputError(
                f"{found} inputs predicted as '{name}', but at least {FEWEST_INPUTS} are needed (a few times the "
                f"number of neurons is better). Give more inputs, or another --target; predicted are: {counted}."
            )
        if most is not None and most > found:
            raise InputError(f"{most} mechanisms were asked of {found} inputs predicted as '{name}'; ask for fewer.")
        return recording, number

    def has_labels(self) -> bool:
        """Tell whether the labels of the data are classes of the model, with a warning where they are not."""
        own = self.pictures.class_names
        if len(own) == self.outputs or own == tuple(map(str, range(len(own)))):
            return True
        warnings.warn(
            f"The data have {len(own)} classes with names, the model {self.outputs} outputs: which is which is not "
            "known, so precision is not either. Name all outputs, in their order, with --classes.",
            stacklevel=1,
        )
        return False

    def _record(self, pictures: Any, batch_size: int, store: Path | None = None) -> neucept.Recording:
        return neucept.record(
            self.network,
            pictures,
            layers=list(dict.fromkeys([*self.layers, *self.watched])),
            output=self.output,
            task=self.task,
            class_names=self.class_names,
            device=self.device,
            batch_size=batch_size,
            store=store,
        )


def _n_outputs(model: nn.Module, inputs: Tensor, output: str | int | None) -> int:
    with left_as_found(model) as device, torch.no_grad():
        return logits_of(model(inputs.to(device)), output).shape[1]


def layers_of(model: nn.Module, inputs: Tensor) -> pd.DataFrame:
    """List the layers on one input, which also checks that the model takes it."""
    try:
        return list_layers(model, inputs)
    except InputError as error:
        refused = str(error).startswith("The model does not take inputs")
        hint = " The options are --size, --channels and --transform." if refused else ""
        raise InputError(f"{error}{hint}") from error
