"""Progress bars with a rate and an end time, and parallel work that shows one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, MutableMapping, Sequence, Sized
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import resource_tracker
from typing import Any, Generic, TypeVar

from tqdm import tqdm

from breastkit.lazy_imports import import_lazily

T = TypeVar("T")
R = TypeVar("R")


_BAR = "{desc}: {percentage:3.0f}%|{bar:24}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}, ends {end}]"


class _Bar(tqdm):  # type: ignore[type-arg]  # generic in its types alone: tqdm[...] fails when it runs
    """A bar that also tells when the work will end, because a rate alone leaves the sum to the reader."""

    @property
    def format_dict(self) -> MutableMapping[str, Any]:
        values = super().format_dict
        rate = values.get("rate") or (values["n"] / values["elapsed"] if values["elapsed"] else 0)
        remaining = (values["total"] - values["n"]) / rate if rate and values["total"] else None
        end = time.localtime(time.time() + remaining) if remaining is not None else None
        values["end"] = time.strftime("%H:%M:%S", end) if end else "?"
        return values


def progress_bar(
    text: str, *, total: int | None = None, unit: str = "it", leave: bool = True, delay: float = 0.0
) -> tqdm[Any]:
    """Returns an open bar on stderr: a context manager with ``update(n)``.

    Without a terminal a line is written every ten seconds instead of ten a second, so that logs stay readable.
    """
    quiet = not sys.stderr.isatty()
    return _Bar(
        total=total,
        desc=text,
        unit=unit,
        leave=leave,
        delay=delay,
        file=sys.stderr,
        dynamic_ncols=not quiet,
        mininterval=10.0 if quiet else 0.1,
        bar_format=_BAR if total else None,
    )


def track(
    items: Iterable[T], text: str, *, total: int | None = None, unit: str = "it", delay: float = 0.0
) -> Iterator[T]:
    """Yields the items while a progress bar follows, after so many seconds if it takes as long."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with progress_bar(text, total=total, unit=unit, delay=delay) as bar:
        for item in items:
            yield item
            bar.update()


def available_cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parallel_map(
    function: Callable[[T], R], items: Iterable[T], text: str, *, workers: int | None = None, unit: str = "it"
) -> list[R]:
    """Applies a function to every item in worker processes and returns the results in the order of the items.

    Only one item a worker is under way at a time and one more waits, so memory stays bounded. The first exception
    ends the work and is raised here.

    Args:
        function: a module-level function, so that workers can import it.
        items: what to apply it to.
        text: what the progress bar says.
        workers: number of processes; the available cores by default, 1 works in this process.
        unit: what an item is, for the rate.
    """
    items = list(items)
    workers = min(workers or available_cores(), len(items))
    if workers <= 1:
        return [function(item) for item in track(items, text, unit=unit)]
    results: dict[int, R] = {}
    with progress_bar(text, total=len(items), unit=unit) as bar, _Processes(function) as processes:
        for position, result in processes.results(dict(enumerate(items)), workers=workers):
            results[position] = result
            bar.update()
    if len(results) < len(items):
        raise BrokenProcessPool("a worker process was killed")
    return [results[position] for position in range(len(items))]


def parallel_results(
    function: Callable[[T], R], items: Sequence[T], *, workers: int, killed: Callable[[T], R]
) -> Generator[tuple[T, R]]:
    """Yields every item with its result as it comes, also where worker processes are killed, as for lack of memory.

    What was under way when one was killed is tried again, one item at a time. Where an item is then killed once more
    it is the cause; where none is, there was too little memory for so many at a time, and a worker fewer goes on.

    Args:
        function: a module-level function, so that workers can import it.
        items: what to apply it to.
        workers: number of processes; nothing is done in this one.
        killed: gives the result of an item that a worker was killed with.
    """
    left = dict(enumerate(items))
    with _Processes(function) as processes:
        while left:
            for position, result in processes.results(left, workers=workers):
                yield left.pop(position), result
            suspects, guilty = [position for position in processes.lost if position in left], False
            for position in suspects:
                found = [result for _, result in processes.results({position: left[position]}, workers=1)]
                guilty = guilty or not found
                item = left.pop(position)
                yield item, found[0] if found else killed(item)
            if suspects and not guilty:
                workers = max(workers - 1, 1)


class _Processes(Generic[T, R]):
    """Worker processes that apply a function, made anew where one of them was killed.

    Attributes:
        lost: the keys of what was under way when one was killed.
    """

    def __init__(self, function: Callable[[T], R]) -> None:
        self._function = function
        # A fork of this process would wait for ever for threads that torch, OpenMP or OpenCV started here and it lacks.
        self._context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
        self._given_up = self._context.Event()
        self._pool: ProcessPoolExecutor | None = None
        self._workers = 0
        self.lost: list[int] = []

    def __enter__(self) -> _Processes[T, R]:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._given_up.set()
        self._end()

    def results(self, items: Mapping[int, T], *, workers: int) -> Iterator[tuple[int, R]]:
        """Yields keys with results as they come; it ends early, with `lost` filled, where a worker was killed."""
        pool, self.lost = self._pool_of(workers), []
        # A copy, because the caller may take out what is done.
        running: dict[Future[R], int] = {}
        waiting = iter(list(items.items()))
        while not self.lost:
            with _interrupts_held_back(), suppress(BrokenProcessPool):
                for key, item in waiting:
                    running[pool.submit(partial(_Worker.call, self._function), item)] = key
                    if len(running) >= 2 * workers:
                        break
            if not running:
                break
            done, _ = wait(running, return_when=FIRST_COMPLETED, timeout=0.5)
            for future in done:
                key = running.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool:
                    self.lost.append(key)
                else:
                    yield key, result
        self.lost += running.values()
        if self.lost or next(waiting, None) is not None:
            self._end()

    def _pool_of(self, workers: int) -> ProcessPoolExecutor:
        if self._pool is None or self._workers != workers:
            self._end()
            self._pool, self._workers = (
                ProcessPoolExecutor(workers, self._context, initializer=_start_worker, initargs=(self._given_up,)),
                workers,
            )
        return self._pool

    def _end(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Makes Ctrl-C wait; processes started meanwhile inherit that, until `_start_worker` can deal with one."""
    # Started here and not later, because starting it lets signals through again.
    resource_tracker.ensure_running()
    came: list[int] = []
    # The mask is for the children; here another thread may still take the signal, and Python hand it to this one.
    main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, lambda number, _: came.append(number)) if main else None
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if main:
            signal.signal(signal.SIGINT, handler)
    if came:
        raise KeyboardInterrupt


class _Worker:
    """What a worker process knows: whether it works on an item, and whether the work was given up."""

    busy = False
    given_up: Any = None

    @classmethod
    def call(cls, function: Callable[[T], R], item: T) -> R:
        """Applies the function, unless the work was given up: items in the pool's queue cannot be called back."""
        if cls.given_up.is_set():
            raise KeyboardInterrupt
        cls.busy = True
        try:
            return function(item)
        finally:
            cls.busy = False

    @classmethod
    def interrupt(cls, *_: object) -> None:
        """Stops the item under way, which removes its temporary files; an idle worker is ended by its parent."""
        if cls.busy:
            raise KeyboardInterrupt


def _start_worker(given_up: Any) -> None:
    """Workers share the cores among themselves; threads within each would only compete."""
    import_lazily()
    _Worker.given_up = given_up
    signal.signal(signal.SIGINT, _Worker.interrupt)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    compute_with_one_thread()


def compute_with_one_thread() -> None:
    """Makes this process compute with one thread, by whatever library, those imported later included."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
