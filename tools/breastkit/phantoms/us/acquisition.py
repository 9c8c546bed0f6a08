"""From tissue to picture: attenuation, speckle, time gain, log compression, the machine's own smoothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from breastkit.phantoms.us.fields import curve
from breastkit.phantoms.us.probe import Probe
from breastkit.phantoms.us.tissue import Tissue


@dataclass(frozen=True)
class Machine:
    """How a scanner is set.

    Attributes:
        looks: pictures averaged by spatial compounding; more make less speckle.
        pulse: length of the pulse in mm, the fineness along the beam.
        aperture: width of the beam in its focus in mm, the fineness across it.
        focus: depth of the focus as a share of the picture.
        loss: what depth takes beyond what time gain gives back, in dB per mm.
        gain_wobble: unevenness of the time gain sliders, in dB.
        noise: electronic noise below the mean echo, in dB.
        range: dynamic range shown, in dB.
        level: gray value the median of the tissue is shown at.
        gamma: of the gray map.
        smoothing: strength of the speckle filter.
        sharpening: strength of the edge enhancement.
        quality: of the JPEG step most exports went through; 0 for none.
    """

    looks: int
    pulse: float
    aperture: float
    focus: float
    loss: float
    gain_wobble: float
    noise: float
    range: float
    level: float
    gamma: float
    smoothing: float
    sharpening: float
    quality: int

    def settings(self) -> dict[str, float]:
        """Returns the settings as plain numbers."""
        return {name: round(float(value), 3) for name, value in asdict(self).items()}


def random_machine(rng: np.random.Generator) -> Machine:
    """Draws settings, from crisp and speckled to smooth and foggy."""
    return Machine(
        looks=int(rng.choice([1, 2, 4, 6, 9], p=(0.06, 0.12, 0.27, 0.3, 0.25))),
        pulse=rng.uniform(0.1, 0.2),
        aperture=rng.uniform(0.2, 0.5),
        focus=rng.uniform(0.2, 0.7),
        loss=rng.uniform(0.1, 1.2),
        gain_wobble=rng.uniform(0, 3),
        noise=rng.uniform(28, 45),
        range=rng.uniform(42, 66),
        level=rng.uniform(60, 140),
        gamma=rng.uniform(0.8, 1.35),
        smoothing=rng.choice([0.0, rng.uniform(0.3, 1.0)]),
        sharpening=rng.uniform(0, 0.8),
        quality=int(rng.choice([0, rng.integers(55, 96)], p=(0.5, 0.5))),
    )


def draw_scatterers(rng: np.random.Generator, probe: Probe, machine: Machine) -> NDArray[Any]:
    """Returns complex noise along the beams for every look, as (look, depth, beam, 2)."""
    return rng.standard_normal((machine.looks, probe.beam_length, probe.columns, 2), dtype=np.float32)


def acquire(
    rng: np.random.Generator, probe: Probe, machine: Machine, tissue: Tissue, scatterers: NDArray[Any]
) -> NDArray[Any]:
    """Returns the picture a machine makes of tissue, as 8-bit gray.

    Args:
        rng: stream of what changes from picture to picture: electronic noise, the gain sliders.
        probe: geometry of the beams.
        machine: its settings.
        tissue: what is looked at.
        scatterers: from `draw_scatterers`; the same ones give the same speckle.
    """
    echo, attenuation = probe.to_beams(tissue.echo), probe.to_beams(tissue.attenuation)
    received = echo - _lost(attenuation, probe) + _time_gain(rng, probe, machine)
    amplitude = np.power(10, received / 20).astype(np.float32)
    power = _speckle(amplitude, scatterers, probe, machine)
    floor = 10 ** ((np.median(received[: probe.rows // 2]) - machine.noise) / 20)
    noise = rng.rayleigh(floor, power.shape).astype(np.float32)
    decibel = 10 * np.log10(power + noise**2 + 1e-12)
    picture = probe.to_picture(_shown(decibel, machine))
    return _exported(picture, machine)


def _lost(attenuation: NDArray[Any], probe: Probe) -> NDArray[Any]:
    """What the beam has lost on its way to each depth; shadows widen and soften as they go down."""
    lost = np.cumsum(attenuation, axis=0, dtype=np.float32) * probe.spacing
    soft = cv2.GaussianBlur(lost, (0, 0), sigmaX=1.2 / probe.spacing, sigmaY=0.5)
    sharp = cv2.GaussianBlur(lost, (0, 0), sigmaX=0.3 / probe.spacing, sigmaY=0.5)
    down = np.linspace(0, 1, len(lost), dtype=np.float32)[:, None]
    return sharp + (soft - sharp) * down


def _time_gain(rng: np.random.Generator, probe: Probe, machine: Machine) -> NDArray[Any]:
    depth = np.arange(probe.beam_length, dtype=np.float32) * probe.spacing
    focus = machine.focus * depth[-1]
    sliders = machine.gain_wobble * curve(rng, len(depth), len(depth) / 4)
    along = sliders - machine.loss * np.clip(depth - 0.3 * focus, 0, None) + 1.5 * np.exp(-(((depth - focus) / 8) ** 2))
    across = 0.4 * machine.gain_wobble * curve(rng, probe.columns, probe.columns / 3)
    gain: NDArray[Any] = along[:, None] + across[None]
    return gain


def _speckle(amplitude: NDArray[Any], scatterers: NDArray[Any], probe: Probe, machine: Machine) -> NDArray[Any]:
    """Mean power over the looks of scatterers seen through the pulse; beams widen away from the focus."""
    along = max(machine.pulse / probe.spacing / 2, 0.6)
    narrow = max(machine.aperture / probe.spacing / 2, 0.7)
    rows = np.linspace(0, 1, len(amplitude), dtype=np.float32)[:, None]
    spread = np.clip(np.abs(rows - machine.focus) * 1.6, 0, 1)
    power = np.zeros_like(amplitude)
    for look in scatterers:
        field = amplitude[..., None] * look
        seen = [
            cv2.GaussianBlur(field, (0, 0), sigmaX=sigma, sigmaY=along) * np.sqrt(4 * np.pi * sigma * along)
            for sigma in (narrow, 2.2 * narrow)
        ]
        power += sum((blurred**2).sum(-1) * weight for blurred, weight in zip(seen, (1 - spread, spread), strict=True))
    return power / (2 * len(scatterers))


def _shown(decibel: NDArray[Any], machine: Machine) -> NDArray[Any]:
    """Log compression onto gray values, then the machine's filter and edge enhancement."""
    median = np.median(decibel[: int(0.6 * len(decibel))])
    # The level is where the median is shown, after the gray map bent it.
    position = (machine.level / 255) ** (1 / machine.gamma)
    gray = np.clip((decibel - median) / machine.range + position, 0, 1) ** machine.gamma * 255
    gray = gray.astype(np.float32)
    if machine.smoothing:
        gray = cv2.bilateralFilter(gray, 5, 25 + 50 * machine.smoothing, 2.0 * machine.smoothing + 0.5)
    if machine.sharpening:
        gray = gray + machine.sharpening * (gray - cv2.GaussianBlur(gray, (0, 0), 1.6))
    shown: NDArray[Any] = np.clip(gray, 0, 255)
    return shown


def _exported(picture: NDArray[Any], machine: Machine) -> NDArray[Any]:
    picture = np.round(picture).astype(np.uint8)
    if machine.quality:
        _, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, machine.quality])
        picture = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)
    return picture
