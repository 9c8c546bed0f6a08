"""The annotation server under clients that do everything at once, for minutes: answers, times, and its memory."""

from __future__ import annotations

import itertools
import json
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
import requests

from breastkit.atomic import make_folder, write_json
from breastkit.errors import BreastkitError, UsageError
from breastkit.images import write_nifti, write_png
from breastkit.phantoms.us.pictures import make_us_phantom
from breastkit.progress import track

MODEL = "breast_us_lesion_segmentation"
_PICTURES = 4
_VOLUME = (96, 96, 40)
# A client that works with pictures looks at each for longer; this is one that never does.
_PAUSE = 0.2
# The beginning, in which models are loaded and every thread comes to its first inference and its first label.
_WARM_UP = 0.4
# How much more memory the last third may take than the first after the beginning.
_MAY_GROW = 0.05
# Seconds; in a shorter soak the server has not come to its size when it ends.
_SAYS_SOMETHING = 200
_PAGE = 4096


@dataclass
class Soak:
    """What happened.

    Attributes:
        statuses: of the answers, by what was asked.
        seconds: that answers of 200 took, by what was asked.
        wrong: what must not be: answers but 200 and a 503 that says when to come back.
        memory: of the server, in MiB, each second.
    """

    statuses: dict[str, Counter] = field(default_factory=lambda: defaultdict(Counter))
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    wrong: list[str] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)

    @property
    def after_warm_up(self) -> list[float]:
        """Memory after the beginning."""
        return self.memory[int(_WARM_UP * len(self.memory)) :]

    @property
    def growth(self) -> float:
        """Which share of memory the last third takes more than the first, both after the beginning."""
        third = max(1, len(self.after_warm_up) // 3)
        return median(self.after_warm_up[-third:]) / median(self.after_warm_up[:third]) - 1

    @property
    def slope(self) -> float:
        """MiB a minute after the beginning, by least squares."""
        return 60 * float(np.polyfit(np.arange(len(self.after_warm_up)), self.after_warm_up, 1)[0])

    def add(self, name: str, answer: requests.Response, seconds: float) -> None:
        """Counts an answer."""
        self.statuses[name][answer.status_code] += 1
        if answer.status_code == 200:
            self.seconds[name].append(seconds)
        elif answer.status_code != 503 or "Retry-After" not in answer.headers:
            self.wrong.append(f"{name}: {answer.status_code} {answer.text[:200]}")


def soak_server(*, seconds: int = 300, clients: int = 20, out: str = "work/soak") -> str:
    """Has clients list, choose, download, run a model and save labels, all at once, and watches the server.

    Args:
        seconds: for how long.
        clients: how many.
        out: a folder for the figures.

    Returns:
        A table of what was asked and how it was answered, and the server's memory.

    Raises:
        BreastkitError: if an answer was neither 200 nor a 503 that says when to come back, or memory grew.
    """
    if seconds < 10 or clients < 1:
        raise UsageError("A soak takes at least 10 seconds and one client; give --seconds and --clients so.")
    place = make_folder(out)
    soak = Soak()
    with tempfile.TemporaryDirectory(prefix="breastkit-soak-") as folder:
        names = _write_studies(Path(folder))
        with _served(Path(folder), place / "server.log") as (address, pid):
            _run(soak, address, pid, names, seconds=seconds, clients=clients)
    told = _told(soak, seconds, clients)
    figures = {name: dict(one) for name, one in soak.statuses.items()}
    write_json(place / "soak.json", {"statuses": figures, "memory": soak.memory, "wrong": soak.wrong})
    if soak.wrong:
        raise BreastkitError(f"{told}\n{len(soak.wrong)} answers are wrong, the first: {soak.wrong[0]}; see {place}.")
    if seconds >= _SAYS_SOMETHING and soak.growth > _MAY_GROW:
        raise BreastkitError(f"{told}\nThe server's memory grew by {100 * soak.growth:.1f} %; see {place}.")
    return told


def _write_studies(folder: Path) -> list[str]:
    for case in range(1, _PICTURES + 1):
        write_png(folder / "studies" / f"us_{case}.png", make_us_phantom(5, case, size=(448, 560)).image)
    volume = np.random.default_rng(0).integers(0, 900, _VOLUME).astype(np.int16)
    write_nifti(folder / "studies" / "mr.nii.gz", volume, np.diag([2.0, 2.0, 2.0, 1.0]))
    return [f"us_{case}" for case in range(1, _PICTURES + 1)]


@contextmanager
def _served(folder: Path, log: Path) -> Iterator[tuple[str, int]]:
    """Yields address and process of a server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["serve", f"--studies={folder / 'studies'}", f"--port={port}", f"--models={folder / 'models'}"]
    with log.open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "breastkit.cli", *words], stdout=subprocess.PIPE, stderr=said, text=True
        )
        try:
            if not any(line.startswith("Ready: ") for line in process.stdout or ()):
                raise BreastkitError(f"The annotation server did not start; look at {log}.")
            yield f"http://127.0.0.1:{port}", process.pid
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=120)


def _run(soak: Soak, address: str, pid: int, names: list[str], *, seconds: int, clients: int) -> None:
    ends = threading.Event()
    counting = threading.Lock()
    threads = [
        threading.Thread(target=_work, args=(soak, counting, ends, address, names, number)) for number in range(clients)
    ]
    for thread in threads:
        thread.start()
    try:
        begun = time.monotonic()
        for second in track(range(seconds), f"{clients} clients", unit="s"):
            soak.memory.append(_memory_of(pid))
            time.sleep(max(0.0, begun + second + 1 - time.monotonic()))
    finally:
        ends.set()
        for thread in threads:
            thread.join()


def _work(
    soak: Soak, counting: threading.Lock, ends: threading.Event, address: str, names: list[str], number: int
) -> None:
    """One client: everything in turn, beginning somewhere, until the end."""
    rng = random.Random(number)
    session = requests.Session()
    requests_of_a_round = list(_requests(session, address, names, rng).items())
    for name, ask in itertools.islice(itertools.cycle(requests_of_a_round), number % len(requests_of_a_round), None):
        if ends.wait(rng.uniform(0, 2 * _PAUSE)):
            return
        begun = time.perf_counter()
        try:
            answer = ask()
        except requests.RequestException as error:
            with counting:
                soak.wrong.append(f"{name}: no answer ({error})")
            continue
        with counting:
            soak.add(name, answer, time.perf_counter() - begun)


def _requests(
    session: requests.Session, address: str, names: list[str], rng: random.Random
) -> dict[str, Callable[[], requests.Response]]:
    def save() -> requests.Response:
        import cv2

        mask = np.zeros((448, 560), np.uint8)
        row, column = rng.randrange(400), rng.randrange(500)
        mask[row : row + 40, column : column + 50] = 1
        label = {"label": ("label.png", cv2.imencode(".png", mask)[1].tobytes())}
        params = {"params": json.dumps({"label_info": [{"name": "benign", "idx": 1}]})}
        # Not all pictures, so that there is always one to choose.
        return session.put(f"{address}/datastore/label?image={rng.choice(names[1:])}", files=label, data=params)

    return {
        "list": lambda: session.get(f"{address}/datastore/?output=all"),
        "info": lambda: session.get(f"{address}/info/"),
        "next sample": lambda: session.post(f"{address}/activelearning/{rng.choice(['first', 'random'])}", json={}),
        "download": lambda: session.get(f"{address}/datastore/image?image={rng.choice([*names, 'mr'])}"),
        "infer": lambda: session.post(f"{address}/infer/{MODEL}?image={rng.choice(names)}", data={"params": "{}"}),
        "save label": save,
    }


def _memory_of(pid: int) -> float:
    """Returns the resident memory of a process in MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]) * _PAGE / 2**20


def _told(soak: Soak, seconds: int, clients: int) -> str:
    columns = ("200", "503", "other", "median s", "95 % s")
    lines = [f"{clients} clients for {seconds} s:", " ".join([f"{'':12}", *(f"{one:>8}" for one in columns)])]
    for name, counts in soak.statuses.items():
        times = np.array(soak.seconds[name] or [np.nan])
        numbers = (counts[200], counts[503], counts.total() - counts[200] - counts[503])
        shown = [f"{one:8}" for one in numbers] + [f"{np.quantile(times, one):8.3f}" for one in (0.5, 0.95)]
        lines.append(" ".join([f"{name:12}", *shown]))
    steady = soak.after_warm_up
    lines.append(
        f"memory after the first {100 * _WARM_UP:.0f} %: first {steady[0]:.0f}, last {steady[-1]:.0f}, "
        f"peak {max(steady):.0f} MiB; {soak.slope:+.1f} MiB a minute, "
        f"{100 * soak.growth:+.1f} % from the first third to the last"
    )
    return "\n".join(lines)
