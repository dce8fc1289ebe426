"""Progress of a loop, with an estimate of the time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_PATIENCE = 2.0  # seconds before the first sign of progress
_INTERVAL = 10.0  # seconds between two lines where there is no terminal to redraw


@contextmanager
def progress(description: str, total: int | None, show: bool = True) -> Iterator[Callable[[int], None]]:
    """Show how far a loop is; nothing where it ends within two seconds.

    Parameters
    ----------
    description : str
        What is being done.
    total : int or None
        Number of steps; None where it is not known.
    show : bool
        False keeps silent.

    Yields
    ------
    advance : callable
        Called with the number of steps just completed. A terminal shows a bar; elsewhere (a log) a line appears every
        ten seconds.
    """
    if not show:
        yield lambda steps: None
        return
    console = Console(file=sys.stderr)
    started = time.monotonic()
    bar: Progress | None = None
    done, reported = 0, started

    def advance(steps: int) -> None:
        nonlocal bar, done, reported
        done += steps
        now = time.monotonic()
        if now - started < _PATIENCE:
            return
        if console.is_terminal:
            if bar is None:
                bar = Progress(
                    TextColumn("{task.description}"),
                    BarColumn(),
                    MofNCompleteColumn(),
                    TimeElapsedColumn(),
                    TimeRemainingColumn(),
                    console=console,
                    transient=True,
                )
                bar.start()
                bar.add_task(description, total=total)
            bar.update(bar.task_ids[0], completed=done)
        elif now - reported >= _INTERVAL and done != total:
            reported = now
            left = f", about {(total - done) * (now - started) / done:.0f} s left" if total and done else ""
            print(f"{description}: {done}{f' of {total}' if total else ''}{left}", file=sys.stderr, flush=True)

    try:
        yield advance
    finally:
        if bar is not None:
            bar.stop()
