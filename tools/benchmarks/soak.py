"""The annotation server under clients that do everything at once, for minutes: answers, times, and its memory."""

from __future__ import annotations

import itertools
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import requests
from numpy.typing import NDArray
from scipy.stats import linregress

from breastkit.atomic import make_folder, write_json
from breastkit.dicom.segment_kinds import SegmentKind
from breastkit.dicom.write_mr import MrStudy, write_mr_series
from breastkit.dicom.write_seg import Segment, write_segmentation
from breastkit.dicom.write_us import write_us_dicom
from breastkit.errors import BreastkitError, UsageError
from breastkit.phantoms.us.pictures import make_us_phantom
from breastkit.progress import track
from breastkit.server.security.users import set_user

MODELS = ("breast_us_lesion_segmentation", "breast_us_lesion_classification")
_PICTURES = 4
_PICTURE, _VOLUME = (448, 560), (96, 96, 40)
# A client that works with pictures looks at each for longer; this is one that never does.
_PAUSE = 0.2
# Seconds; in a shorter soak the server has not come to its size when it ends.
_SAYS_SOMETHING = 600
# Memory is looked at by so many parts of the second half: within one it goes up and down with what is asked.
_PARTS = 10
# Which share of memory it may grow by in the second half, beyond what its ups and downs explain.
_MAY_GROW = 0.01
_PAGE = 4096


@dataclass(frozen=True)
class Growth:
    """How memory goes on in the second half of a soak, after models are loaded and all threads are there.

    Attributes:
        rise: of the straight line through the medians of its parts, in MiB over the half.
        error: standard error of that.
        allowed: what it may rise by: a hundredth of the memory, or two standard errors where these are more.
    """

    rise: float
    error: float
    allowed: float

    @classmethod
    def of(cls, memory: Sequence[float]) -> Growth:
        """Returns the growth.

        Args:
            memory: in MiB, at even times; twenty at least.
        """
        half = np.array(memory[len(memory) // 2 :])
        line = linregress(np.arange(_PARTS), [float(np.median(part)) for part in np.array_split(half, _PARTS)])
        rise, error = float(line.slope) * _PARTS, float(line.stderr) * _PARTS
        return cls(rise, error, max(_MAY_GROW * float(np.median(half)), 2 * error))

    @property
    def is_flat(self) -> bool:
        """Whether it does not grow more than it may."""
        return self.rise <= self.allowed

    def __str__(self) -> str:
        verdict = "flat" if self.is_flat else "it grows"
        return (
            f"{self.rise:+.1f} MiB in the second half (standard error {self.error:.1f}, allowed {self.allowed:.1f}): "
            f"{verdict}"
        )


@dataclass
class Soak:
    """What happened.

    Attributes:
        statuses: of the answers, by what was asked.
        seconds: that answers of 200 took, by what was asked.
        inferences: that were answered with 200, by client.
        wrong: what must not be: answers but 200 and a 503 that says when to come back.
        memory: of the server, in MiB, each second.
    """

    statuses: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    inferences: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)

    @property
    def growth(self) -> Growth:
        """How memory grew."""
        return Growth.of(self.memory)

    def add(self, name: str, answer: requests.Response, seconds: float) -> None:
        """Counts an answer."""
        self.statuses[name][answer.status_code] += 1
        if answer.status_code == 200:
            self.seconds[name].append(seconds)
        elif answer.status_code != 503 or "Retry-After" not in answer.headers:
            self.wrong.append(f"{name}: {answer.status_code} {answer.text[:200]}")


def soak_server(*, seconds: int = 1200, clients: int = 20, out: str = "work/soak") -> str:
    """Has users list, search, choose, download, run models, lend, save labels and store segmentations, all at once.

    Args:
        seconds: for how long; memory is judged from ten minutes on.
        clients: how many, each a user of its own.
        out: a folder for the figures, ``soak.json``, and the server's log.

    Returns:
        A table of what was asked and how it was answered, and the server's memory with the verdict on it.

    Raises:
        BreastkitError: if an answer was neither 200 nor a 503 that says when to come back, or memory grew.
    """
    if seconds < 20 or clients < 1:
        raise UsageError("A soak takes at least 20 seconds and one client; give --seconds and --clients so.")
    place = make_folder(out)
    soak = Soak()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="breastkit-soak-") as folder:
        pictures = _write_studies(Path(folder, "studies"))
        passwords = _write_users(Path(folder), clients)
        with _served(Path(folder), place / "server.log") as (address, pid):
            at_work = [
                Client(address, _logged_in(address, *user), pictures, number)
                for number, user in enumerate(passwords.items())
            ]
            _run(soak, at_work, pid, seconds=seconds)
    told = _told(soak, seconds, clients, load=load)
    write_json(place / "soak.json", _figures(soak, seconds, clients, load=load))
    if soak.wrong:
        raise BreastkitError(f"{told}\n{len(soak.wrong)} answers are wrong, the first: {soak.wrong[0]}; see {place}.")
    if seconds >= _SAYS_SOMETHING and not soak.growth.is_flat:
        raise BreastkitError(f"{told}\nThe server's memory grows; see {place}.")
    return told


def _write_studies(folder: Path) -> dict[str, Path]:
    """Writes pictures and a volume as DICOM and returns the pictures' files by patient."""
    files = {}
    for case in range(1, _PICTURES + 1):
        phantom, patient = make_us_phantom(5, case, size=_PICTURE), f"US {case}"
        path = folder / f"us_{case}.dcm"
        files[patient] = write_us_dicom(path, phantom.image, spacing=phantom.spacing, patient=patient, uid_seed=patient)
    volume = np.random.default_rng(0).integers(0, 900, _VOLUME).astype(np.int16)
    study = MrStudy(patient_id="MR", uid_source="soak")
    write_mr_series(folder / "mr", volume, np.diag([-2.0, -2.0, 2.0, 1.0]), study, number=1, description="t1")
    return files


def _write_users(folder: Path, clients: int) -> dict[str, str]:
    """Writes a file of annotators and returns their passwords by name."""
    passwords = {f"annotator.{number}": secrets.token_hex() for number in range(clients)}
    for name, password in passwords.items():
        set_user(str(folder / "users.json"), name, password=password)
    return passwords


@contextmanager
def _served(folder: Path, log: Path) -> Iterator[tuple[str, int]]:
    """Yields address and process of a server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["serve", f"--studies={folder / 'studies'}", f"--port={port}", f"--models={folder / 'models'}"]
    words.append(f"--users={folder / 'users.json'}")
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


def _run(soak: Soak, clients: Sequence[Client], pid: int, *, seconds: int) -> None:
    ends, counting = threading.Event(), threading.Lock()
    threads = [threading.Thread(target=_work, args=(soak, counting, ends, client)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        begun = time.monotonic()
        for second in track(range(seconds), f"{len(threads)} clients", unit="s"):
            soak.memory.append(_memory_of(pid))
            time.sleep(max(0.0, begun + second + 1 - time.monotonic()))
    finally:
        ends.set()
        for thread in threads:
            thread.join()


def _logged_in(address: str, name: str, password: str) -> requests.Session:
    session = requests.Session()
    answer = session.post(f"{address}/auth/token", data={"username": name, "password": password})
    session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    # As the client of 3D Slicer has it. One that is kept is closed by the server when nothing comes for seconds, which
    # a client that is busy itself takes for no answer.
    session.headers["Connection"] = "close"
    return session


def _work(soak: Soak, counting: threading.Lock, ends: threading.Event, client: Client) -> None:
    """One client: everything in turn, beginning somewhere, until the end."""
    a_round = list(client.requests().items())
    for name, ask in itertools.islice(itertools.cycle(a_round), client.number % len(a_round), None):
        if ends.wait(client.rng.uniform(0, 2 * _PAUSE)):
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
            soak.inferences[client.number] += name == "infer" and answer.status_code == 200


class Client:
    """One user, who asks for everything that viewers ask for.

    Args:
        address: of the server.
        session: of who is logged in.
        files: the pictures by patient, as they lie in the studies.
        number: seed of what is chosen.
    """

    def __init__(self, address: str, session: requests.Session, files: dict[str, Path], number: int) -> None:
        self.address, self.session, self.number = address, session, number
        self.rng = random.Random(number)
        listed = session.get(f"{address}/datastore/?output=all").json()["objects"]
        patients = {name: one["image"]["info"]["PatientID"] for name, one in listed.items()}
        self.images = list(patients)
        self.pictures = {name: files[patient] for name, patient in patients.items() if patient in files}
        # One is never labelled, so that there is always one to choose.
        self.first, *self.others = self.pictures

    def requests(self) -> dict[str, Callable[[], requests.Response]]:
        """Returns what is asked for in a round, by name."""
        get = self.session.get
        return {
            "list": lambda: get(f"{self.address}/datastore/?output=all"),
            "info": lambda: get(f"{self.address}/info/"),
            "search": lambda: get(f"{self.address}/dicom-web/studies"),
            "next sample": self._choose,
            "download": lambda: get(f"{self.address}/datastore/image?image={self.rng.choice(self.images)}"),
            "infer": self._infer,
            "lend": self._lend,
            "save label": self._save,
            "store": self._store,
        }

    def _choose(self) -> requests.Response:
        strategy = self.rng.choice(["first", "random"])
        return self.session.post(f"{self.address}/activelearning/{strategy}", json={})

    def _infer(self) -> requests.Response:
        model, image = self.rng.choice(MODELS), self.rng.choice(list(self.pictures))
        return self.session.post(f"{self.address}/infer/{model}?image={image}", data={"params": "{}"})

    def _lend(self) -> requests.Response:
        picture = {"files": ("lent.dcm", self.pictures[self.first].read_bytes())}
        lent = self.session.put(f"{self.address}/session/", files=picture)
        return self.session.delete(f"{self.address}/session/{lent.json()['session_id']}") if lent.ok else lent

    def _save(self) -> requests.Response:
        import cv2

        label = {"label": ("label.png", cv2.imencode(".png", self._mask())[1].tobytes())}
        params = {"params": json.dumps({"label_info": [{"name": "benign", "idx": 1}]})}
        image = self.rng.choice(self.others)
        return self.session.put(f"{self.address}/datastore/label?image={image}", files=label, data=params)

    def _store(self) -> requests.Response:
        """Stores a segmentation, as the viewer exports it."""
        segment = Segment(SegmentKind.BREAST_LESION, self._mask(), label="lesion")
        with tempfile.TemporaryDirectory(prefix="breastkit-soak-") as folder:
            picture = self.pictures[self.rng.choice(self.others)]
            content = write_segmentation(Path(folder, "seg.dcm"), [segment], picture).read_bytes()
        headers = {"Content-Type": "application/dicom"}
        return self.session.post(f"{self.address}/dicom-web/studies", data=content, headers=headers)

    def _mask(self) -> NDArray[np.uint8]:
        mask = np.zeros(_PICTURE, np.uint8)
        row, column = self.rng.randrange(400), self.rng.randrange(500)
        mask[row : row + 40, column : column + 50] = 1
        return mask


def _memory_of(pid: int) -> float:
    """Returns the resident memory of a process in MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]) * _PAGE / 2**20


def _figures(soak: Soak, seconds: int, clients: int, *, load: float) -> dict[str, Any]:
    """Returns what is kept of a soak."""
    return {
        "clients": clients,
        "seconds": seconds,
        "cores": len(os.sched_getaffinity(0)),
        "load_at_the_start": load,
        "answers": {
            name: {
                "statuses": dict(counts),
                "seconds": dict(zip(("median", "0.95"), _quantiles(soak, name), strict=True)),
            }
            for name, counts in soak.statuses.items()
        },
        "inferences_of_a_client": {"fewest": min(_shares(soak, clients)), "most": max(_shares(soak, clients))},
        "wrong": soak.wrong,
        "memory_mib": soak.memory,
        "growth_mib": asdict(soak.growth),
        "judged": seconds >= _SAYS_SOMETHING,
        "flat": soak.growth.is_flat,
    }


def _shares(soak: Soak, clients: int) -> list[int]:
    return [soak.inferences[number] for number in range(clients)]


def _quantiles(soak: Soak, name: str) -> list[float | None]:
    times = soak.seconds[name]
    return [round(float(one), 3) for one in np.quantile(times, (0.5, 0.95))] if times else [None, None]


def _told(soak: Soak, seconds: int, clients: int, *, load: float) -> str:
    columns = ("200", "503", "other", "median s", "95 % s")
    lines = [
        f"{clients} clients for {seconds} s on {len(os.sched_getaffinity(0))} cores, load {load:.1f} before:",
        " ".join([f"{'':12}", *(f"{one:>8}" for one in columns)]),
    ]
    for name, counts in soak.statuses.items():
        numbers = (counts[200], counts[503], counts.total() - counts[200] - counts[503])
        shown = [f"{one:8}" for one in numbers] + [f"{one!s:>8}" for one in _quantiles(soak, name)]
        lines.append(" ".join([f"{name:12}", *shown]))
    shares, half = _shares(soak, clients), soak.memory[len(soak.memory) // 2 :]
    lines.append(f"inferences of a client: {min(shares)} to {max(shares)}")
    lines.append(f"memory: {half[0]:.0f} MiB at half time, {half[-1]:.0f} at the end, peak {max(soak.memory):.0f}")
    judged = "" if seconds >= _SAYS_SOMETHING else f"; judged from {_SAYS_SOMETHING} s on, this was too short"
    lines.append(f"memory: {soak.growth}{judged}")
    return "\n".join(lines)
