"""How far a picture is from those a network has learnt from, by what a layer in the middle of it makes of them.

Late layers tell classes apart and call noise as familiar as a scan; those in the middle know speckle from everything
else. A picture is described by means and standard deviations of the channels of one such layer; its distance is that of
Mahalanobis to the nearest hospital's mean, in the directions in which pictures differ most and, as one more, across all
others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from breastkit.atomic import atomic_path
from breastkit.errors import BreastkitError

FILE_NAME = "familiar.npz"
_DIRECTIONS = 32
# Other hospitals are a little farther than the farthest picture of a known one that was not learnt from.
_ROOM = 1.1

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class Familiarity:
    """Where the pictures lie that a network has learnt from.

    Attributes:
        layer: whose maps are looked at, by its name in the network.
        weights: sha256 of the network's weights.
        sites: names of the hospitals.
        scale: what statistics are divided by.
        means: of the hospitals, ``(sites, statistics)``.
        directions: in which pictures differ most, ``(directions, statistics)``.
        variances: along them.
        rest: variance across all others together.
        limit: the distance beyond which a picture is unfamiliar.
    """

    layer: str
    weights: str
    sites: tuple[str, ...]
    scale: _Array
    means: _Array
    directions: _Array
    variances: _Array
    rest: float
    limit: float

    def distances(self, statistics: _Array) -> _Array:
        """Returns how far pictures are from the nearest hospital.

        Args:
            statistics: ``(pictures, statistics)``, see `map_statistics`.
        """
        apart = (np.atleast_2d(statistics) / self.scale)[:, None] - self.means
        along = apart @ self.directions.T
        across = (apart**2).sum(-1) - (along**2).sum(-1)
        squared = (along**2 / self.variances).mean(-1) + across / self.rest
        return np.asarray(np.sqrt(squared.min(-1)))

    def write(self, path: str | Path) -> Path:
        """Writes it as a file of arrays, at single precision."""
        facts = {name: np.asarray(getattr(self, name)) for name in self.__dataclass_fields__}
        small = {name: value.astype(np.float32) if value.dtype == float else value for name, value in facts.items()}
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **small)
        return Path(path)


def fit_familiarity(
    statistics: _Array, sites: Sequence[str], held_out: _Array, *, layer: str, weights: str
) -> Familiarity:
    """Returns where pictures lie.

    Args:
        statistics: of pictures learnt from, ``(pictures, statistics)``.
        sites: the hospital of each.
        held_out: statistics of others of the same hospitals, the farthest of which sets the limit.
        layer: whose maps they are of.
        weights: sha256 of the network's weights.
    """
    scale = statistics.std(0) + 1e-6
    scaled, names = statistics / scale, np.asarray(sites)
    known = tuple(sorted(set(sites)))
    means = np.stack([scaled[names == site].mean(0) for site in known])
    apart = np.concatenate([scaled[names == site] - mean for site, mean in zip(known, means, strict=True)])
    _, lengths, directions = np.linalg.svd(apart, full_matrices=False)
    variances = lengths**2 / len(apart)
    count = min(_DIRECTIONS, len(variances) - 1)
    found = Familiarity(
        layer=layer,
        weights=weights,
        sites=known,
        scale=scale,
        means=means,
        directions=directions[:count],
        variances=variances[:count],
        rest=float(variances[count:].sum()),
        limit=np.inf,
    )
    return replace(found, limit=float(_ROOM * found.distances(held_out).max()))


def read_familiarity(path: str | Path) -> Familiarity:
    """Reads the file that ``breastkit calibrate familiar`` wrote.

    Raises:
        BreastkitError: if it is missing or another file.
    """
    try:
        with np.load(path) as kept:
            facts = {name: kept[name] for name in Familiarity.__dataclass_fields__}
    except (OSError, ValueError, KeyError) as error:
        raise BreastkitError(f"{path} cannot be read; make it with 'breastkit calibrate familiar'.") from error
    return Familiarity(
        layer=str(facts["layer"]),
        weights=str(facts["weights"]),
        sites=tuple(map(str, facts["sites"])),
        scale=facts["scale"].astype(float),
        means=facts["means"].astype(float),
        directions=facts["directions"].astype(float),
        variances=facts["variances"].astype(float),
        rest=float(facts["rest"]),
        limit=float(facts["limit"]),
    )


def map_statistics(network: nn.Module, layer: str, image: torch.Tensor) -> _Array:
    """Returns means and standard deviations of the channels of a layer's maps.

    Args:
        network: runs the layer when it is given a batch.
        layer: its name.
        image: one picture as the network takes it, ``(channels, rows, columns)``.
    """
    found: list[torch.Tensor] = []
    hook = network.get_submodule(layer).register_forward_hook(lambda _, inputs, maps: found.append(maps[0]))
    try:
        with torch.no_grad():
            network(image[None])
    finally:
        hook.remove()
    maps = found[0].double()
    return torch.cat([maps.mean((-2, -1)), maps.std((-2, -1))]).cpu().numpy()
