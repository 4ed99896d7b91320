"""Progress bars: shards and documents, or files and bytes, and the time left.

Nothing is drawn when stderr is not a terminal.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def progress_bar(stage: str, total: int, already_done: int) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A bar over the shards of a stage; call the yielded function with a shard's counts when it is done."""
    if not sys.stderr.isatty():
        yield lambda counts: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("shards  {task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(stage, total=total, completed=already_done, rate="")
        start, documents = time.perf_counter(), 0

        def advance(counts: dict[str, Any]) -> None:
            nonlocal documents
            documents += int(counts.get("in", 0))
            rate = documents / (time.perf_counter() - start)
            progress.update(task, advance=1, rate=f"{rate:,.0f} documents/s" if documents else "")

        yield advance


@contextlib.contextmanager
def download_bar(files: int, size: int, held: int) -> Iterator[Callable[[int, int], None]]:
    """A bar over the bytes of files that are fetched; call the yielded function with further bytes and files.

    Args:
        files: how many files there are to fetch.
        size: bytes of all of them, 0 where that is not known.
        held: bytes of them that lie here already.
    """
    if not sys.stderr.isatty():
        yield lambda size, files: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TextColumn("{task.fields[files]} files"),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("download", total=size or None, completed=held, files=f"0/{files}")
        done, lock = 0, threading.Lock()

        def advance(size: int, finished: int) -> None:
            nonlocal done
            with lock:
                done += finished
                progress.update(task, advance=size, files=f"{done}/{files}")

        yield advance
