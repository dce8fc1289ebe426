"""Training: reproducible, resumable, and with a prior whose frozen part does not move."""

import errno
import os
import pickle
import random
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

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


PARTS = ("settings", "losses", "model", "optimizer")


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


def change(file: Path, part: str, value: Any) -> None:
    """Replace a part of a checkpoint, as "model.0.weight"; None removes it."""
    state = torch.load(file)
    outer, _, inner = part.partition(".")
    holder, key = (state[outer], inner) if inner else (state, outer)
    if value is None:
        del holder[key]
    else:
        holder[key] = value
    torch.save(state, file)


def change_moment(file: Path, value: Tensor) -> None:
    state = torch.load(file)
    state["optimizer"]["state"][0]["exp_avg"] = value
    torch.save(state, file)


NAN = float("nan")
DAMAGE: dict[str, Callable[[Path], Any]] = {
    "empty": lambda file: file.write_bytes(b""),
    "noise": lambda file: file.write_bytes(b"noise" * 99),
    "cut short": lambda file: file.write_bytes(file.read_bytes()[:-300]),
    "text": lambda file: file.write_text("epoch 3"),
    "code": lambda file: file.write_bytes(pickle.dumps(random.random)),
    "whole network": lambda file: torch.save(network(), file),
    "list": lambda file: torch.save([1, 2], file),
    "pairs": lambda file: torch.save([("settings", {}), ("losses", [])], file),
    "weights alone": lambda file: torch.save(network().state_dict(), file),
    **{f"no {part}": lambda file, part=part: change(file, part, None) for part in PARTS},
    **{f"{part} is a text": lambda file, part=part: change(file, part, "x") for part in PARTS},
    **{
        f"{part} is empty": lambda file, part=part: change(file, part, {})
        for part in ("settings", "model", "optimizer")
    },
    "setting is a tensor": lambda file: change(file, "settings.lr", torch.zeros(3)),
    "settings by number": lambda file: change(file, "settings", {0: 1}),
    "other setting": lambda file: change(file, "settings.seed", 9),
    "a setting less": lambda file: change(file, "settings.lr", None),
    "loss is nan": lambda file: change(file, "losses", [NAN]),
    "loss is a text": lambda file: change(file, "losses", ["0.1"]),
    "too many losses": lambda file: change(file, "losses", [0.1] * 5),
    "weights are nan": lambda file: change(file, "model.0.weight", torch.full((8, 4), NAN)),
    "statistics are nan": lambda file: change(file, "model.1.running_mean", torch.full((8,), NAN)),
    "weights of another shape": lambda file: change(file, "model.0.weight", torch.zeros(8, 5)),
    "weights of another type": lambda file: change(file, "model.0.weight", torch.zeros(8, 4).int()),
    "weights without values": lambda file: change(file, "model.0.weight", torch.zeros(8, 4, device="meta")),
    "sparse weights": lambda file: change(file, "model.0.weight", torch.zeros(8, 4).to_sparse()),
    "weights are a number": lambda file: change(file, "model.0.weight", 3),
    "a weight less": lambda file: change(file, "model.0.weight", None),
    "a weight more": lambda file: change(file, "model.9.weight", torch.zeros(3)),
    "another number of weights": lambda file: change(file, "optimizer.param_groups", [{"params": [0]}]),
    "groups are a text": lambda file: change(file, "optimizer.param_groups", "x"),
    "moments are nan": lambda file: change_moment(file, torch.full((8, 4), NAN)),
    "moments of another shape": lambda file: change_moment(file, torch.zeros(2)),
    "folder": lambda file: (file.unlink(), file.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_checkpoints_are_refused_and_the_network_stays(tmp_path: Path, damage: str) -> None:
    file, model = tmp_path / "run.pt", network()
    train(network(), blobs(), epochs=2, checkpoint=file)
    DAMAGE[damage](file)
    model.train()
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(InputError, match=r"run\.pt is (no checkpoint|of another training|a folder)"):
        train(model, blobs(), epochs=2, checkpoint=file)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training and not model[1].training and model[0].training


def test_numbers_of_numpy_are_kept_in_checkpoints(tmp_path: Path) -> None:
    settings = {"epochs": np.int64(1), "lr": np.float64(0.01), "seed": np.int32(3), "batch_size": np.uint8(9)}
    losses = train(network(), blobs(), checkpoint=tmp_path / "run.pt", **settings)
    assert train(network(), blobs(), checkpoint=tmp_path / "run.pt", **settings) == losses


def test_what_cannot_be_written_is_found_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: Any, **settings: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(InputError, match=r"Cannot write to .*name too long"):
        train(model, blobs(), epochs=1, checkpoint=tmp_path / ("x" * 300))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", refused)
        for checkpoint in (tmp_path / "new.pt", tmp_path / "deep" / "new.pt"):
            with pytest.raises(InputError, match=r"Cannot write to .*new\.pt: Permission denied. Choose a checkpoint"):
                train(model, blobs(), epochs=1, checkpoint=checkpoint)
        with pytest.raises(InputError, match="Permission denied"):
            train_with_prior(network, blobs(), blobs(), n_classes=(3, 3), checkpoints=tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    long, link = tmp_path / ("x" * 255), tmp_path / "link"
    link.symlink_to(tmp_path / "target")
    for checkpoint in (long, link):
        train(network(), blobs(), epochs=1, checkpoint=checkpoint)
    assert link.is_symlink() and (tmp_path / "target").is_file() and len(list(tmp_path.iterdir())) == 4


def test_a_full_disk_keeps_the_checkpoint_of_the_epoch_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, saves, save = tmp_path / "run.pt", [], torch.save

    def full(state: Any, path: Path) -> None:
        saves.append(path)
        if len(saves) == 2:
            path.write_bytes(b"half")
            raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")
        save(state, path)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match=r"run\.pt cannot be written \(.*\). What was written before is kept"):
        train(network(), blobs(), epochs=3, checkpoint=file)
    assert [path.name for path in tmp_path.iterdir()] == ["run.pt"]
    assert len(torch.load(file)["losses"]) == 1


class Merging(nn.Linear):
    """Adds a low-rank update to its weight in evaluation mode, as LoRA layers do."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.down, self.up = nn.Parameter(torch.ones(2, inputs)), nn.Parameter(torch.ones(outputs, 2))
        self.merged = False

    def train(self, mode: bool = True) -> "Merging":
        super().train(mode)
        if mode == self.merged:
            self.weight.data += (-1 if mode else 1) * self.up @ self.down
            self.merged = not mode
        return self


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("mixed", [True, False])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_an_error_leaves_modes_and_layout_as_found(
    error: type[BaseException], mode: bool, mixed: bool, layout: torch.memory_format
) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), Merging(16, 2), nn.Dropout())
    model.to(memory_format=layout).train(mode)
    model[4].train(not mode)
    steps = 0

    def failing(inputs: Tensor) -> Tensor:
        nonlocal steps
        steps += 1
        if steps > 3:
            raise error
        return inputs

    modes = [module.training for module in model.modules()]
    data = TensorDataset(torch.randn(40, 3, 4, 4), torch.arange(40) % 2)
    with pytest.raises(error):
        train(model, data, epochs=1, batch_size=8, mixed_precision=mixed, augment=failing, frozen_prefix="1")
    assert [module.training for module in model.modules()] == modes
    assert model[3].merged == (not mode) and model[0].weight.is_contiguous(memory_format=layout)
    assert all(parameter.requires_grad for parameter in model.parameters())
    train(model, data, epochs=1, mixed_precision=mixed)
    assert not any(module.training for module in model.modules()) and model[3].merged
    assert model[0].weight.is_contiguous(memory_format=layout)


class Returning(nn.Module):
    """Gives its logits among other things while it is trained, as GoogLeNet does, and alone otherwise."""

    Both = namedtuple("Both", ("logits", "aux"))

    def __init__(self, way: str) -> None:
        super().__init__()
        self.net, self.way = network(), way

    def forward(self, x: Tensor) -> Any:
        logits = self.net(x)
        if not self.training:
            return logits
        ways = {"named": Returning.Both(logits, x), "mapping": {"loss": x.sum(), "logits": logits}}
        return ways.get(self.way, (logits, x))


@pytest.mark.parametrize("way", ["named", "mapping", "tuple"])
def test_networks_that_return_more_while_they_are_trained(way: str) -> None:
    plain, model = network(), Returning(way)
    losses = train(model, blobs(), epochs=2, seed=4)
    assert losses == train(plain, blobs(), epochs=2, seed=4) and same(plain, model.net)
    assert accuracy(model, blobs()) == accuracy(plain, blobs())


def test_the_output_can_be_chosen(tmp_path: Path) -> None:
    class Second(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, self.net(x)

    model, plain = Second(), network()
    assert train(model, blobs(), epochs=1, output=1) == train(plain, blobs(), epochs=1)
    assert accuracy(model, blobs(), output=1) == accuracy(plain, blobs())
    train(Second(), blobs(), epochs=1, output=1, checkpoint=tmp_path / "run.pt")
    with pytest.raises(InputError, match=r"output 1 there, -1 now"):
        train(Second(), blobs(), epochs=1, output=-1, checkpoint=tmp_path / "run.pt")


def test_googlenet_is_trained() -> None:
    torchvision = pytest.importorskip("torchvision")
    model = torchvision.models.googlenet(weights=None, num_classes=2, aux_logits=True, init_weights=False)
    data = TensorDataset(torch.randn(4, 3, 64, 64), torch.arange(4) % 2)
    assert len(train(model, data, epochs=1, batch_size=4)) == 1


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.bool])
def test_labels_of_any_whole_type(dtype: torch.dtype) -> None:
    inputs, labels = blobs(classes=2).tensors
    expected = train(network(2), TensorDataset(inputs, labels), epochs=1)
    assert train(network(2), TensorDataset(inputs, labels.to(dtype)), epochs=1) == expected


def test_maps_and_probabilities_are_targets_too() -> None:
    maps = TensorDataset(torch.randn(8, 3, 6, 6), torch.randint(0, 2, (8, 6, 6)))
    model = nn.Conv2d(3, 2, 1)
    assert train(model, maps, epochs=30, lr=0.1)[-1] < 1
    soft = TensorDataset(blobs().tensors[0], nn.functional.one_hot(blobs().tensors[1]).float())
    assert train(network(), soft, epochs=1) == pytest.approx(train(network(), blobs(), epochs=1), rel=1e-5)


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
    with pytest.raises(InputError, match=r"label_smoothing=1\.0: expected a number from 0 on, below 1"):
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
        ({"epochs": 0}, "epochs=0: expected a whole number, 1 or more"),
        ({"epochs": 2.5}, "epochs=2.5: expected a whole number"),
        ({"epochs": None}, "epochs=None: expected a whole number"),
        ({"batch_size": "8"}, "batch_size='8': expected a whole number"),
        ({"seed": -1}, "seed=-1: expected a whole number, 0 or more"),
        ({"lr": 0}, "lr=0: expected a number above 0"),
        ({"lr": float("nan")}, "lr=nan: expected a number above 0"),
        ({"weight_decay": "none"}, "weight_decay='none': expected a number"),
        ({"optimizer": "adamw"}, "optimizer='adamw': expected one of 'adam', 'sgd'. Did you mean 'adam'"),
        ({"device": "gpu"}, "device='gpu' cannot be used"),
        ({"model": LeNet}, "model is a type; expected a torch.nn.Module"),
        ({"model": nn.LazyLinear(2)}, "parameters without values"),
        ({"model": nn.Linear(4, 3, device="meta")}, "parameters without values"),
        ({"dataset": DataLoader(blobs())}, "data set is a DataLoader; expected a Dataset with a length"),
        ({"dataset": iter([1])}, "expected a Dataset with a length"),
        ({"dataset": blobs().tensors}, "data set is a tuple; expected a Dataset"),
        ({"dataset": blobs().tensors[0]}, "has a Tensor; expected .input, label."),
        ({"dataset": [(torch.zeros(4), 0), (torch.zeros(5), 1)]}, "cannot be joined to a batch"),
        ({"dataset": TensorDataset(torch.zeros(4, 4))}, "has 1 parts; expected .input, label."),
        ({"dataset": [(torch.zeros(4), "cat")]}, "labels are str; expected class numbers"),
        ({"dataset": [({"x": torch.zeros(4)}, 1)]}, "with a tensor as the input"),
        ({"dataset": TensorDataset(torch.zeros(4, 4), torch.zeros(4, 1).long())}, r"labels have the shape \(4, 1\)"),
        ({"dataset": TensorDataset(torch.zeros(4, 9), torch.zeros(4).long())}, r"does not take inputs .* \(4, 9\)"),
        ({"output": "logits"}, "No logits found by output='logits'"),
        ({"dataset": TensorDataset(torch.full((4, 4), torch.nan), torch.zeros(4).long())}, "loss is nan in epoch 1"),
        ({"frozen_prefix": ["0", "1", "4"]}, "every parameter is frozen"),
        ({"model": nn.ReLU()}, "every parameter is frozen"),
        ({"dataset": blobs(0)}, "holds no inputs"),
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
        ({"epochs": "many"}, "epochs='many': expected one number"),
        ({"epochs": (1, 2.5)}, "epochs=2.5: expected a whole number"),
        ({"seed": None}, "seed=None: expected a whole number"),
        ({"factory": 3}, "factory is a int; expected a function"),
    ],
)
def test_settings_that_are_not_possible_with_a_prior(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        train_with_prior(
            **{"factory": network, "prior_data": blobs(), "posterior_data": blobs(), "n_classes": (3, 3)} | settings
        )


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
    with pytest.raises(InputError, match="holds no inputs"):
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
