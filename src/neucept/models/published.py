"""Networks that torchvision and timm publish: their weights, where these are, and the transform that they need."""

from __future__ import annotations

import os
import socket
import threading
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import Tensor, nn

from neucept.errors import InputError, missing
from neucept.models.specs import no_model, split_spec
from neucept.short_repr import ShortRepr

_PATIENCE = 4.0  # seconds in which a host must answer
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")  # under which timm's weights lie, in the order it looks


@dataclass(frozen=True, repr=False)
class ColourTransform(ShortRepr):
    """A transform for pictures that may be gray: they become RGB first.

    Parameters
    ----------
    transform : callable
        From a PIL image in RGB to a tensor (3, H, W).
    """

    transform: Callable[[Any], Tensor]

    def __call__(self, picture: Any) -> Tensor:
        """Transform a PIL image to a tensor (3, H, W)."""
        return self.transform(picture.convert("RGB"))


def preprocessing(spec: str, model: nn.Module) -> ColourTransform | None:
    """Find the transform that fits a torchvision or timm network.

    Parameters
    ----------
    spec : str
        What :func:`load_model` was given.
    model : Module
        What it gave.

    Returns
    -------
    ColourTransform or None
        From a PIL image to a normalised tensor (3, H, W). None for the user's own network, whose transform is not
        known here.

    Examples
    --------
    >>> from neucept.models import LeNet
    >>> preprocessing("neucept.models:LeNet", LeNet()) is None
    True
    """
    origin, name = split_spec(spec)
    if origin == "torchvision":
        try:
            from torchvision import models
        except ImportError as error:
            raise missing("torchvision", "vision") from error
        return ColourTransform(models.get_model_weights(name).DEFAULT.transforms())
    if origin == "timm":
        try:
            from timm.data import create_transform, resolve_model_data_config
        except ImportError as error:
            raise missing("timm", "vision") from error
        return ColourTransform(create_transform(**resolve_model_data_config(model), is_training=False))
    return None


def build(origin: str, name: str, pretrained: bool, n_classes: int | None) -> nn.Module:
    """Build a network of torchvision or timm.

    Parameters
    ----------
    origin : {"torchvision", "timm"}
        The package.
    name : str
        Its name of the network.
    pretrained : bool
        Whether to give it its published weights, which are downloaded unless they are on this machine.
    n_classes : int, optional
        Number of outputs, if not the published one.

    Raises
    ------
    InputError
        The package is not installed or has no such network, or weights must be downloaded and their host does not
        answer.
    """
    width = {} if n_classes is None else {"num_classes": n_classes}
    try:
        return (_from_torchvision if origin == "torchvision" else _from_timm)(name, pretrained, width)
    except OSError as error:
        raise InputError(
            f"Fetching the published weights of {origin}:{name} failed: {error}. Fetch them elsewhere, and give the"
            " file: --weights FILE."
        ) from error


def _from_torchvision(name: str, pretrained: bool, width: dict[str, int]) -> nn.Module:
    try:
        from torchvision import models
    except ImportError as error:
        raise missing("torchvision", "vision") from error
    names = models.list_models()
    if name not in names:
        raise no_model("torchvision", name, names)
    weights = None
    if pretrained:
        weights = models.get_model_weights(name).DEFAULT
        if not _downloaded(weights.url):
            check_reachable(f"torchvision:{name}", weights.url)
    model: nn.Module = models.get_model(name, weights=weights, **width)
    return model


def _from_timm(name: str, pretrained: bool, width: dict[str, int]) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise missing("timm", "vision") from error
    if not timm.is_model(name):
        raise no_model("timm", name, timm.list_models())
    given = {}
    if pretrained and (published := timm.get_pretrained_cfg(name)) is not None:
        if published.hf_hub_id:
            from huggingface_hub import constants

            file = _in_hub_cache(published.hf_hub_id, published.hf_hub_filename)
            if file is None:
                check_reachable(f"timm:{name}", constants.ENDPOINT)
            elif not published.custom_load:  # otherwise the hub is asked for a newer one, minutes offline
                given = {"pretrained_cfg_overlay": {"file": file}}
        elif published.url and not _downloaded(published.url):
            check_reachable(f"timm:{name}", published.url)
    model: nn.Module = timm.create_model(name, pretrained=pretrained, **given, **width)
    return model


def _downloaded(url: str) -> bool:
    """Whether PyTorch has a file of published weights in its cache."""
    return (Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(url).path).name).is_file()


def _in_hub_cache(repository: str, filename: str | None) -> str | None:
    """Find weights in the cache of Hugging Face's hub."""
    from huggingface_hub import try_to_load_from_cache

    repository, _, revision = repository.partition("@")
    for name in _HUB_FILES if filename is None else (filename,):
        file = try_to_load_from_cache(repository, name, revision=revision or None)
        if isinstance(file, str) and os.path.isfile(file):
            return file
    return None


def check_reachable(spec: str, url: str) -> None:
    """Raise an InputError unless the host that has a network's weights, or the proxy on the way, answers in seconds."""
    host = urlsplit(url).hostname or ""
    proxy = "" if urllib.request.proxy_bypass(host) else urllib.request.getproxies().get(urlsplit(url).scheme, "")
    place = urlsplit(url if not proxy else proxy if "//" in proxy else f"//{proxy}")
    said = ["no answer"]

    def ask() -> None:
        try:
            socket.create_connection(
                (place.hostname, place.port or (80 if place.scheme == "http" else 443)), timeout=_PATIENCE
            ).close()
            said.clear()
        except (OSError, ValueError) as error:
            said[0] = str(error)

    asking = threading.Thread(target=ask, daemon=True)  # looking a name up knows no time limit
    asking.start()
    asking.join(_PATIENCE)
    if said:
        raise InputError(
            f"The published weights of {spec} are not on this machine, and {place.hostname} cannot be reached"
            f" ({said[0]}). Fetch them where there is a network, and give the file: --weights FILE."
        )
