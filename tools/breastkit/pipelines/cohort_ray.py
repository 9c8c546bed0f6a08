"""A cohort on a Ray cluster: one actor a GPU, or a core where there is none, with its networks loaded.

Ray places the actors, starts them again where a machine or process is lost, and gives them their study once more. An
actor is sent a study when it has nothing to do, so that none piles up.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from typing import Any

from breastkit.errors import BreastkitError, sentence_of
from breastkit.pipelines.cohort_studies import Study
from breastkit.progress import compute_with_one_thread
from breastkit.ray_cluster import connected_ray

# A study whose process is lost so many times is the cause.
_TRIES = 3


class _Tries:
    """Counts how often each study was begun; an actor that is lost cannot know it of itself."""

    def __init__(self) -> None:
        self._begun: Counter[str] = Counter()

    def begin(self, name: str) -> int:
        self._begun[name] += 1
        return self._begun[name]


class _StudyActor:
    """Runs studies one after the other, with the networks that the function keeps in memory."""

    def __init__(self, function: Callable[[Study], str], killed: Callable[[Study], str], tries: Any) -> None:
        compute_with_one_thread()
        self._ray: Any = importlib.import_module("ray")
        self._function, self._killed, self._tries = function, killed, tries

    def run(self, study: Study) -> tuple[Study, str]:
        # Ray sends a study again for as long as it takes.
        tries = self._ray.get(self._tries.begin.remote(study.name))
        return study, self._function(study) if tries <= _TRIES else self._killed(study)


def ray_results(
    function: Callable[[Study], str],
    studies: Sequence[Study],
    *,
    address: str | None,
    workers: int | None,
    memory_gb: float,
    killed: Callable[[Study], str],
) -> Generator[tuple[Study, str]]:
    """Yields every study with its result as it comes, as `breastkit.progress.parallel_results` does on one machine.

    Args:
        function: what to apply; every machine must be able to import it and see the folders it names.
        studies: what to apply it to.
        address: of the cluster; that of ``RAY_ADDRESS`` by default, or one on this machine that ends with the work.
        workers: so many actors; as many as the cluster has GPUs, or cores and memory for, by default.
        memory_gb: what an actor needs.
        killed: gives the result of a study that process after process was lost with.

    Raises:
        BreastkitError: if Ray is not installed or the cluster cannot be reached, or for what ends the whole work.
    """
    if not studies:
        return
    with connected_ray(address) as ray:
        count, resources = _actors(ray, workers=workers, memory_gb=memory_gb)
        lasting = {"max_restarts": -1, "max_task_retries": -1}
        tries = ray.remote(_Tries).options(num_cpus=0, **lasting).remote()
        actor = ray.remote(_StudyActor).options(**resources, **lasting)
        count = min(count, len(studies))
        pool = ray.util.ActorPool([actor.remote(function, killed, tries) for _ in range(count)])
        waiting = iter(studies)
        while True:
            while pool.has_free():
                study = next(waiting, None)
                if study is None:
                    # Its core goes to an actor that lost its own.
                    pool.pop_idle()
                else:
                    pool.submit(lambda chosen, value: chosen.run.remote(value), study)
            if not pool.has_next():
                break
            try:
                yield pool.get_next_unordered()
            except ray.exceptions.RayTaskError as error:
                raise BreastkitError(sentence_of(error) or f"Ray ended the work: {error}") from error


def _actors(ray: Any, *, workers: int | None, memory_gb: float) -> tuple[int, dict[str, Any]]:
    """Returns how many actors the cluster has room for, and what each asks for."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = int(sum(machine.get("GPU", 0) for machine in machines))
    if gpus:
        return workers or gpus, {"num_gpus": 1, "num_cpus": 1}
    need = memory_gb * 1e9
    room = sum(int(min(machine.get("CPU", 0), machine.get("memory", 0) // need)) for machine in machines)
    if not room:
        raise BreastkitError(
            f"No machine of the Ray cluster has a core and {memory_gb:g} GB of memory for it; add one that has."
        )
    return workers or room, {"num_cpus": 1, "memory": need}
