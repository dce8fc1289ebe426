"""What a command was given, checked before PyTorch, pandas and scikit-learn are imported, which takes seconds."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Sequence
from pathlib import Path

from neucept.datasets.places import check_place
from neucept.errors import InputError, closest, missing
from neucept.models.specs import check_code, check_spec, check_weights
from neucept.vocabulary import OBJECTIVES, ORDERS, REDUCTIONS, RESPONSES, TASK_NAMES

_NAMES = {
    "--task": TASK_NAMES,
    "--objective": OBJECTIVES,
    "--response": RESPONSES,
    "--order": ORDERS,
    "--reduce": REDUCTIONS,
}


def page_at(out: Path, name: str = "report.html") -> Path:
    """Make the folder of a report, and check before any work that files can be written there."""
    page = out if out.suffix == ".html" else out / name
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=page.parent):
            pass
        if page.exists():
            with page.open("ab"):
                pass
    except OSError as error:
        raise InputError(f"Cannot write to {page}: {error.strerror}. Choose another place with --out.") from error
    check_report_packages()
    return page


def check_folder(out: Path) -> Path:
    """Raise an InputError for the folder of a run that is named as a file."""
    if out.suffix in (".html", ".zip") or out.is_file():
        raise InputError(
            f"--out {out}: expected a folder, which gets report.html, tables, and what 'neucept show {out.stem}' and"
            " other commands open again."
        )
    return out


_A_RUN = "Give the folder that 'neucept run' or 'neucept audit' wrote."


def check_run(run: Path) -> None:
    """Raise an InputError unless there is a run at a path, or a file of one."""
    if not run.exists():
        near = closest(run.name, [one.name for one in run.parent.iterdir()]) if run.parent.is_dir() else ""
        raise InputError(f"There is no run at {run}.{near} {_A_RUN}")
    if run.is_dir() and not (run / "facts.json").is_file():
        raise InputError(f"{run} is no run: there is no facts.json in it. {_A_RUN}")


def check_report_packages() -> None:
    """Raise an InputError where a package that a report needs is not installed."""
    for package, module in {"plotly": "plotly", "pillow": "PIL"}.items():
        if importlib.util.find_spec(module) is None:
            raise missing(package, "report")


def check_numbers(precision: float = 0.9, seed: int = 0, **at_least_one: int | None) -> None:
    """Check numbers; of ``at_least_one`` None stands for a default."""
    if seed < 0:
        raise InputError(f"--seed {seed}: expected a number from 0 on.")
    if not 0 < precision < 1:
        raise InputError(f"--precision {precision:g}: expected a number between 0 and 1, such as 0.9.")
    for name, value in at_least_one.items():
        if value is not None and value < 1:
            raise InputError(f"--{name.replace('_', '-')} {value}: expected a number from 1 on.")


def check_names(**given: str | None) -> None:
    """Refuse a value that is none of the names that an option takes."""
    for name, value in given.items():
        if value is not None:
            check_one_of(f"--{name}", value, _NAMES[f"--{name}"])


def check_one_of(option: str, given: str, known: Sequence[str]) -> None:
    """Raise an InputError unless a name is one of those known."""
    if given not in known:
        raise InputError(f"{option} {given}: expected one of {', '.join(known)}.{closest(given, known)}")


def check_subject(
    model: str,
    weights: str | None,
    data: Path | None,
    transform: str | None = None,
    device: str | None = None,
    **numbers: str | None,
) -> None:
    """Check that a model, its weights, data and a transform are where they are said to be, and numbers with commas."""
    for text in numbers.values():
        floats(text)
    if data is not None:
        check_place(data)
    check_spec(model)
    if weights is not None:
        check_weights(model, weights)
    if transform is not None:
        check_code(transform)
    check_device(device)


def check_device(device: str | None) -> None:
    """Raise an InputError for a device that PyTorch cannot use, which takes importing it."""
    if device in (None, "cpu"):
        return
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {device} cannot be used: {str(error).splitlines()[0]}") from error


def how_many(mechanisms: str) -> int | None:
    """Read the number of mechanisms; None for ``auto``."""
    if mechanisms == "auto":
        return None
    if not (mechanisms.isdigit() and int(mechanisms) > 0):
        raise InputError(f"--mechanisms {mechanisms}: expected a number from 1 on, or auto.")
    return int(mechanisms)


def words(text: str | None) -> list[str] | None:
    """Split at commas."""
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def floats(text: str | None) -> list[float] | None:
    """Read numbers with commas between."""
    try:
        return None if text is None else [float(word) for word in text.split(",")]
    except ValueError:
        raise InputError(f"{text!r}: expected numbers with commas between, such as 0.5,0.5,0.5.") from None


def integers(text: str) -> list[int]:
    """Read positive whole numbers with commas between."""
    try:
        numbers = [int(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise InputError(f"{text!r}: expected whole numbers from 1 on with commas between, such as 3,224,224.")
    return numbers
