"""Training: reproducible, resumable, and with a prior whose frozen part does not move."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from neucept.datasets import load_data
from neucept.errors import InputError
from neucept.models import VGG11, LeNet, load_model
from neucept.training import PriorTraining, accuracy, flip_and_shift, train, train_with_prior, transfer


def blobs(n: int = 96, classes: int = 3) -> TensorDataset:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(n) % classes
    return TensorDataset(torch.randn(n, 4, generator=generator) + 3 * torch.eye(4)[labels], labels)


def network(classes: int = 3) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, classes))


def jitter(inputs: Tensor) -> Tensor:
    return inputs + 0.1 * torch.randn_like(inputs)


def same(first: nn.Module, second: nn.Module) -> bool:
    return all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_training_learns(optimizer: str) -> None:
    model = network()
    losses = train(model, blobs(), epochs=15, lr=0.02, batch_size=16, optimizer=optimizer)
    assert len(losses) == 15
    assert losses[-1] < 0.4 * losses[0]
    assert accuracy(model, blobs()) > 0.95
    assert not model.training


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_seed_gives_the_same_weights_and_leaves_no_trace(optimizer: str) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    results = []
    for seed in (3, 3, 4):
        model = network()
        train(model, blobs(), epochs=2, optimizer=optimizer, augment=jitter, seed=seed)
        results.append(model)
        torch.rand(7)
        torch.set_rng_state(state)
    assert same(results[0], results[1])
    assert not same(results[0], results[2])
    train(network(), blobs(), epochs=1)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_going_on_after_an_interruption_gives_the_same_weights(tmp_path: Path, optimizer: str) -> None:
    settings = {"epochs": 4, "batch_size": 16, "optimizer": optimizer, "seed": 2}
    whole = network()
    losses = train(whole, blobs(), augment=jitter, **settings)
    file = tmp_path / "run.pt"
    seen = 0

    def interrupted(inputs: Tensor) -> Tensor:
        nonlocal seen
        seen += 1
        if seen > 15:  # in the third of four epochs of six batches
            raise KeyboardInterrupt
        return jitter(inputs)

    with pytest.raises(KeyboardInterrupt):
        train(network(), blobs(), augment=interrupted, checkpoint=file, **settings)
    resumed = network()
    assert train(resumed, blobs(), augment=jitter, checkpoint=file, **settings) == losses
    assert same(whole, resumed)
    assert [path.name for path in tmp_path.iterdir()] == ["run.pt"]
    with pytest.raises(InputError, match=r"of another training: lr 0.001 there, 0.01 now"):
        train(network(), blobs(), checkpoint=file, lr=0.01, **settings)
    file.write_bytes(b"noise")
    with pytest.raises(InputError, match="is no checkpoint"):
        train(network(), blobs(), checkpoint=file, **settings)


def replaced(number: int, module: nn.Module) -> nn.Sequential:
    model = network()
    model[number] = module
    return model


def other_labels() -> TensorDataset:
    inputs, labels = blobs().tensors
    return TensorDataset(inputs, (labels + 1) % 3)


ANOTHER = {
    "another frozen module": ({"frozen_prefix": "1"}, r"frozen_prefix \['0'\] there, \['1'\] now"),
    "nothing frozen": ({"frozen_prefix": ()}, r"frozen_prefix \['0'\] there, \[\] now"),
    "labels": ({"dataset": other_labels()}, "the inputs or labels are others"),
    "inputs": ({"dataset": TensorDataset(blobs().tensors[0] + 1, blobs().tensors[1])}, "the inputs or labels are"),
    "dropout": ({"model": replaced(3, nn.Dropout(0.3))}, "the modules of the network are others"),
    "width": ({"model": replaced(4, nn.Linear(8, 4))}, "the modules of the network are others"),
    "first weights": ({"model": replaced(4, nn.Linear(8, 3))}, "begins with other weights"),
}


@pytest.mark.parametrize("change", ANOTHER)
def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path, change: str) -> None:
    file, (changed, said) = tmp_path / "run.pt", ANOTHER[change]
    given = {"model": network(), "dataset": blobs(), "frozen_prefix": "0", "epochs": 2, "checkpoint": file} | changed
    train(network(), blobs(), epochs=2, frozen_prefix=["0"], checkpoint=file)
    with pytest.raises(InputError, match=said):
        train(**given)


def old(file: Path) -> None:
    """Take out of a checkpoint what those of the first version lacked."""
    state = torch.load(file)
    for key in ("frozen_prefix", "network", "start", "data"):
        del state["settings"][key]
    torch.save(state, file)


def test_old_checkpoints_go_on(tmp_path: Path) -> None:
    file, model = tmp_path / "run.pt", network()
    losses = train(network(), blobs(), epochs=2, checkpoint=file)
    old(file)
    assert train(model, blobs(), epochs=2, checkpoint=file) == losses
    for changed, said in [
        ({"model": replaced(4, nn.Linear(8, 4))}, r"the network has other parameters, such as '4\.bias'"),
        ({"frozen_prefix": "0"}, "of another training: loaded state dict contains a parameter group"),
    ]:
        given: dict[str, Any] = {"model": network(), "dataset": blobs(), "epochs": 2, "checkpoint": file} | changed
        before = {name: value.clone() for name, value in given["model"].state_dict().items()}
        with pytest.raises(InputError, match=said):
            train(**given)
        assert all(torch.equal(value, before[name]) for name, value in given["model"].state_dict().items())


class Noisy(Dataset):
    """Inputs that are others each time they are read, from every kind of generator."""

    def __init__(self) -> None:
        self.own = np.random.default_rng(0)

    def __len__(self) -> int:
        return 40

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        noise = torch.randn(4) + random.random() + np.random.random()  # noqa: NPY002
        return noise + self.own.random() + i % 2, i % 2


def test_data_with_noise_go_on_and_random_generators_are_left_alone(tmp_path: Path) -> None:
    random.seed(1), np.random.seed(1)  # noqa: NPY002
    states = random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    train(network(2), TensorDataset(*blobs(classes=2).tensors), epochs=1, checkpoint=tmp_path / "still.pt")
    assert random.getstate() == states[0] and (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
    train(network(2), Noisy(), epochs=1, checkpoint=tmp_path / "noisy.pt")
    train(network(2), Noisy(), epochs=1, checkpoint=tmp_path / "noisy.pt")


def test_the_folder_of_a_checkpoint_is_made(tmp_path: Path) -> None:
    train(network(), blobs(), epochs=1, checkpoint=tmp_path / "new" / "folder" / "run.pt")
    assert (tmp_path / "new" / "folder" / "run.pt").exists()
    with pytest.raises(InputError, match="Cannot write to"):
        train(network(), blobs(), epochs=1, checkpoint=tmp_path / "new" / "folder" / "run.pt" / "in a file")


def test_a_prior_trained_anew_does_not_meet_what_came_of_the_old_one(tmp_path: Path) -> None:
    def run(prior: TensorDataset) -> PriorTraining:
        options: dict[str, Any] = {"n_classes": (3, 2), "epochs": (2, 1), "frozen_prefix": ["0", "1"], "normal": False}
        return train_with_prior(network, prior, blobs(classes=2), checkpoints=tmp_path, **options)

    first, again = run(blobs()), run(blobs())
    assert same(first.pkt, again.pkt)
    (tmp_path / "prior.pt").unlink()
    with pytest.raises(InputError, match=r"pkt\.pt is of another training: the network begins with other weights"):
        run(other_labels())


def test_mixed_precision_trains_weights_of_full_precision() -> None:
    generator = torch.Generator().manual_seed(2)
    labels = torch.arange(64) % 2
    images = torch.randn(64, 1, 8, 8, generator=generator) + labels[:, None, None, None]
    seen = []

    class Spy(nn.Module):
        def forward(self, maps: Tensor) -> Tensor:
            seen.append((maps.dtype, maps.is_contiguous(memory_format=torch.channels_last)))
            return maps.mean((2, 3))

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), Spy(), nn.Linear(4, 2))
    train(model, TensorDataset(images, labels), epochs=20, lr=0.05, mixed_precision=True)
    assert set(seen) == {(torch.bfloat16, True)}
    assert all(p.dtype == torch.float32 and p.is_contiguous() for p in model.parameters())
    assert accuracy(model, TensorDataset(images, labels)) > 0.95


def test_label_smoothing_spreads_a_share_of_the_target(tmp_path: Path) -> None:
    data, model, file = blobs(), nn.Linear(4, 3), tmp_path / "run.pt"
    start = nn.Linear(4, 3)
    start.load_state_dict(model.state_dict())
    with torch.no_grad():
        logs = model(data.tensors[0]).log_softmax(1)
    plain = -logs[torch.arange(len(logs)), data.tensors[1]].mean()
    (loss,) = train(model, data, epochs=1, lr=1e-12, label_smoothing=0.2, checkpoint=file)
    assert loss == pytest.approx(float(0.8 * plain - 0.2 * logs.mean()), rel=1e-5)
    with pytest.raises(InputError, match=r"label_smoothing 0\.2 there, 0\.0 now"):
        train(start, data, epochs=1, lr=1e-12, checkpoint=file)
    with pytest.raises(InputError, match=r"label_smoothing=1\.0 is not possible"):
        train(network(), data, epochs=1, label_smoothing=1.0)


def test_settings_of_the_prior_task_alone() -> None:
    def run(**settings: Any) -> PriorTraining:
        return train_with_prior(network, blobs(), blobs(classes=2), n_classes=(3, 2), epochs=1, **settings)

    plain, smoothed = run(), run(prior_settings={"label_smoothing": 0.3})
    assert not same(plain.prior, smoothed.prior)
    assert plain.normal is not None and smoothed.normal is not None and same(plain.normal, smoothed.normal)
    with pytest.raises(InputError, match="prior_settings= holds 'seed'"):
        run(prior_settings={"seed": 3})


def test_a_third_number_of_epochs_is_that_of_the_network_without_prior_knowledge(tmp_path: Path) -> None:
    train_with_prior(network, blobs(), blobs(classes=2), n_classes=(3, 2), epochs=(1, 2, 3), checkpoints=tmp_path)
    epochs = [len(torch.load(tmp_path / f"{name}.pt")["losses"]) for name in ("prior", "pkt", "normal")]
    assert epochs == [1, 2, 3]


def test_frozen_modules_do_not_move() -> None:
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train(model, blobs(), epochs=2, frozen_prefix=["0", "1"])
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"4.weight", "4.bias"}
    assert all(parameter.requires_grad for parameter in model.parameters())
    with pytest.raises(InputError, match=r"no module '10' to freeze"):
        train(model, blobs(), epochs=1, frozen_prefix="10")


def test_the_frozen_part_of_the_papers_vgg() -> None:
    model = VGG11(2)
    frozen = {p for i in range(21) for p in model.features[i].parameters()}  # convolutions 1 to 6
    assert sum(p.numel() for p in model.parameters() if p not in frozen) == 1_772_290


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"epochs": 0}, "must be positive"),
        ({"epochs": 1, "optimizer": "adamw"}, "expected 'adam' or 'sgd'"),
        ({"epochs": 1, "frozen_prefix": ["0", "1", "4"]}, "every parameter is frozen"),
        ({"model": nn.ReLU()}, "every parameter is frozen"),
        ({"dataset": blobs(0)}, "holds no inputs to train on"),
        ({"dataset": blobs(classes=4)}, "labels run from 0 to 3, but the network has 3 outputs: classes 0 to 2"),
        ({"dataset": TensorDataset(torch.zeros(4, 4), -torch.ones(4).long())}, "labels run from -1 to -1"),
        ({"dataset": TensorDataset(torch.zeros(4, 4), torch.zeros(4))}, "labels are torch.float32; expected class"),
    ],
)
def test_settings_that_are_not_possible(settings: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        train(**{"model": network(), "dataset": blobs(), "epochs": 1} | settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"epochs": (1,)}, r"epochs=\(1,\): expected one number, \(prior, PKT\)"),
        ({"epochs": (1, 1, 1, 1)}, "epochs=.*: expected one number"),
        ({"n_classes": (3,)}, r"n_classes=\(3,\): expected two numbers"),
        ({"n_classes": 3}, "n_classes=3: expected two numbers"),
    ],
)
def test_settings_that_are_not_possible_with_a_prior(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        train_with_prior(network, blobs(), blobs(), **{"n_classes": (3, 3)} | settings)


def test_transfer_copies_what_fits() -> None:
    prior, model = LeNet(10), LeNet(2)
    copied = transfer(prior, model)
    assert len(copied) == 8
    assert set(model.state_dict()) - set(copied) == {"classifier.2.weight", "classifier.2.bias"}
    assert torch.equal(prior.classifier[0].weight, model.classifier[0].weight)


def test_prior_knowledge_training(tmp_path: Path) -> None:
    inputs, labels = blobs().tensors
    prior, posterior = TensorDataset(inputs, labels), TensorDataset(inputs, labels % 2)

    def run(**more: Any) -> PriorTraining:
        return train_with_prior(
            network, prior, posterior, n_classes=(3, 2), epochs=(3, 2), lr=0.01, progress=False, **more
        )

    trained = run(frozen_prefix=["0", "1"], checkpoints=tmp_path / "runs")
    assert set(trained.transferred) == {name for name in network().state_dict() if not name.startswith("4.")}
    for name in ("0", "1"):  # batch statistics too
        assert same(trained.prior.get_submodule(name), trained.pkt.get_submodule(name))
    assert not same(trained.pkt[0], trained.normal[0])
    assert {file.name for file in (tmp_path / "runs").iterdir()} == {"prior.pt", "pkt.pt", "normal.pt"}
    assert run(normal=False).normal is None
    with pytest.raises(InputError, match="no class_names; say how many classes"):
        train_with_prior(network, prior, posterior)


def test_accuracy_leaves_the_model_as_found() -> None:
    model = network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = accuracy(model, blobs())
    assert model.training
    assert accuracy(model, blobs(), batch_size=7) == first  # no dropout, no batch statistics
    with pytest.raises(InputError, match="no inputs to predict"):
        accuracy(model, blobs(0))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_flips_and_shifts() -> None:
    images = torch.arange(1, 301, dtype=torch.float32).reshape(4, 3, 5, 5)
    torch.manual_seed(0)
    changed = flip_and_shift(2)(images)
    assert changed.shape == images.shape
    padded = nn.functional.pad(images, (2,) * 4)
    for i in range(4):
        found = [
            (down, right, flipped)
            for down in range(5)
            for right in range(5)
            for flipped in (False, True)
            if torch.equal(
                changed[i],
                (lambda x, flipped=flipped: x.flip(-1) if flipped else x)(
                    padded[i, :, down : down + 5, right : right + 5]
                ),
            )
        ]
        assert len(found) == 1


@pytest.mark.shared
@pytest.mark.parametrize(("name", "low", "high"), [("lenet-pkt-0", 0.990, 0.998), ("lenet-normal-0", 0.986, 0.994)])
def test_accuracy_of_trained_networks(shared: Path, name: str, low: float, high: float) -> None:
    digits = load_data(shared / "data" / "MNIST" / "raw", split="test", size=32)
    model = load_model("neucept.models:LeNet", shared / "models" / f"{name}.safetensors", n_classes=2)
    assert low <= accuracy(model, digits.relabel(digits.labels % 2, ("even", "odd"))) <= high
