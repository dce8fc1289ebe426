"""The networks of the experiments, trained afresh, and their recordings.

    python experiments/networks.py [--reduced] [--tasks lenet lenet-five vgg11]

Prior-knowledge training (PKT): a prior network learns the fine classes; the PKT network starts from its parameters and
learns the coarse task; the normal network learns the coarse task from a fresh start. LeNet on MNIST: even or odd, and
multiples of five (a task of the published code, not of the paper). VGG11 on CIFAR-10: animal or object, the first six
convolutions frozen. Weights lie in experiments/networks, training goes on where it stopped, accuracies and numbers of
parameters (Table 1) go to experiments/results/networks.json. Networks that are there already are not trained again: for
the committed results, the second pair of VGG11s is the one of ../shared/models, put there for want of time: trained
earlier, from a plain start and without label smoothing.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from common import HERE, SHARED, Results, Scale, scale
from safetensors.torch import load_file, save_file
from tasks import KINDS, TASKS, Task, tensors
from torch import nn
from torch.utils.data import TensorDataset

import neucept
from neucept.models import VGG11
from neucept.training import accuracy, train_with_prior


def folder(task: str, seed: int, scale: Scale) -> Path:
    return HERE / "networks" / scale.name / f"{task}-{seed}"


def trained(task: str, seed: int, scale: Scale) -> dict[str, nn.Module]:
    """Return the networks {"prior", "pkt", "normal"} of a task, trained where they are missing."""
    chosen, place = TASKS[task], folder(task, seed, scale)
    names = {kind: place / f"{kind}.safetensors" for kind in KINDS}
    if not all(path.exists() for path in names.values()):
        X, fine = tensors(task, "train", scale.shared, 6000 if scale.reduced else 10**9)
        epochs = (2, 1, 1) if scale.reduced else chosen.epochs
        _take_over_prior(task, seed, scale)
        done = train_with_prior(
            lambda width: fresh(chosen, width, X),
            TensorDataset(X, torch.as_tensor(fine)),
            TensorDataset(X, torch.as_tensor(chosen.coarse(fine))),
            n_classes=(10, 2),
            epochs=epochs,
            frozen_prefix=chosen.frozen,
            checkpoints=place,
            seed=seed + 100,  # not those of the networks on which the method was worked out
            **chosen.settings,
        )
        for kind in KINDS:
            save_file({k: v.contiguous() for k, v in getattr(done, kind).state_dict().items()}, names[kind])
    networks = {kind: chosen.architecture(n_classes=10 if kind == "prior" else 2).eval() for kind in KINDS}
    known = Results("networks", scale).cells.get(f"{task} {seed}", {})
    for kind, network in networks.items():
        network.load_state_dict(load_file(names[kind]))
        before = known.get(kind, {}).get("weights")
        if before not in (None, fingerprint(network)):
            warnings.warn(
                f"{names[kind]} is not the network of experiments/results (its weights were {before}, now"
                f" {fingerprint(network)}): what is measured now will stand beside what was measured on another. Move"
                " experiments/results away to begin anew.",
                stacklevel=2,
            )
    return networks


def fresh(task: Task, width: int, images: torch.Tensor) -> nn.Module:
    """Return a network to be trained. That of a VGG11 begins so that it learns in half the epochs.

    Its first filters are the principal components of patches, scaled to variance 1, of both signs; the others pass maps
    on: Jordan, K. (2024). 94% on CIFAR-10 in 3.29 seconds on a single GPU. arXiv:2404.00498.
    """
    network = task.architecture(n_classes=width)
    if task.architecture is VGG11:
        first, *others = (m for m in network.modules() if isinstance(m, nn.Conv2d))
        patches = nn.functional.unfold(images[:1000], first.kernel_size).transpose(1, 2).flatten(0, 1)
        variances, components = torch.linalg.eigh(torch.cov(patches.T.double()))
        components = components * components.gather(0, components.abs().argmax(0)[None]).sign()  # whatever the machine
        filters = (components / variances.sqrt()).T.float().reshape(-1, *first.weight.shape[1:])
        with torch.no_grad():
            first.weight[: 2 * len(filters)] = torch.cat([filters, -filters])
            for convolution in others:
                nn.init.dirac_(convolution.weight[: convolution.in_channels])
    return network


def fingerprint(network: nn.Module) -> str:
    """Tell one network's weights from another's, to four decimals, as rounding differs between machines."""
    sums = [f"{float(value.double().abs().mean()):.4f}" for value in network.state_dict().values()]
    return hashlib.sha256(" ".join(sums).encode()).hexdigest()[:12]


def _take_over_prior(task: str, seed: int, scale: Scale) -> None:
    """Begin with the prior network of another task on the same data, which with the same seed is the same."""
    place = folder(task, seed, scale)
    for other, chosen in TASKS.items():
        known = folder(other, seed, scale) / "prior.pt"
        if chosen.data == TASKS[task].data and known.exists() and not (place / known.name).exists():
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(known, place)


def pairs(scale: Scale, *tasks: str) -> list[tuple[str, int]]:
    """Return the (task, seed) of every pair of networks; a first look has one pair for each of the paper's tasks."""
    full = {"lenet": scale.lenets, "lenet-five": scale.lenets, "vgg11": scale.vggs}
    count = {"lenet": 1, "lenet-five": 0, "vgg11": 1} if scale.reduced else full
    return [(task, seed) for task in tasks or TASKS for seed in range(count[task])]


def recorded(task: str, seed: int, kind: str, scale: Scale) -> neucept.Recording:
    """Return the recording of a network's two layers on the test inputs, in the order of `tensors`."""
    place = HERE / "recordings" / scale.name / f"{task}-{seed}-{kind}"
    if not place.exists():
        X, fine = tensors(task, "test", scale.shared, scale.inputs)
        labels = fine if kind == "prior" else TASKS[task].coarse(fine)
        layers = [layer for _, layer in TASKS[task].layers]
        network = trained(task, seed, scale)[kind]
        recording = neucept.record(network, TensorDataset(X, torch.as_tensor(labels)), layers=layers, progress=False)
        place.parent.mkdir(parents=True, exist_ok=True)
        recording.save(place)
    return neucept.Recording.open(place)


def facts(task: str, seed: int, scale: Scale) -> dict[str, dict[str, float]]:
    """Parameters (Table 1) and test accuracy of each network of a task."""
    chosen = TASKS[task]
    X, fine = tensors(task, "test", scale.shared, scale.inputs)
    results = {}
    for kind, network in trained(task, seed, scale).items():
        parameters = {name: p.numel() for name, p in network.named_parameters()}
        fixed = chosen.frozen if kind == "pkt" else ()
        labels = fine if kind == "prior" else chosen.coarse(fine)
        results[kind] = {
            "parameters": sum(parameters.values()),
            "trained": sum(n for name, n in parameters.items() if name.rpartition(".")[0] not in fixed),
            "accuracy": accuracy(network, TensorDataset(X, torch.as_tensor(labels))),
            "weights": fingerprint(network),
            "given": fingerprint(network) == _given(task, kind, scale),
        }
    return results


def _given(task: str, kind: str, scale: Scale) -> str | None:
    """Fingerprint of the network that lies with the data, None where there is none."""
    path = scale.shared / "models" / f"{task}-{kind}-0.safetensors"
    if not path.exists():
        return None
    network = TASKS[task].architecture(n_classes=10 if kind == "prior" else 2)
    network.load_state_dict(load_file(path))
    return fingerprint(network)


def run(chosen: Scale, tasks: Sequence[str] = ()) -> dict[str, dict[str, dict[str, float]]]:
    cells = {f"{t} {s}": (lambda t=t, s=s: facts(t, s, chosen)) for t, s in pairs(chosen, *tasks)}
    return Results("networks", chosen).fill(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reduced", action="store_true", help="minutes instead of hours; results kept apart")
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder of the data")
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), help="train the networks of these tasks alone")
    options = parser.parse_args()
    results = run(scale(options.reduced, options.shared), options.tasks)
    print(importlib.import_module("tell.networks").tell(results))


if __name__ == "__main__":
    torch.set_flush_denormal(True)
    main()
