"""A calibration of the ultrasound chain on one's own pictures, read from a file and applied to what networks say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from breastkit.errors import BreastkitError
from breastkit.metrics import softmax

_NUMBERS = ("temperature", "suspicious_from", "abstain_above", "recall", "specificity")


@dataclass(frozen=True)
class Calibration:
    """What probabilities and limits become.

    Attributes:
        temperature: what the logarithms of the probabilities are divided by.
        suspicious_from: the operating point, on the probability of malignant.
        abstain_above: the uncertainty above which the chain abstains.
        recall: share of the malignant pictures that the operating point flags, where it was chosen.
        specificity: share of the others that it does not flag, there.
        weights: sha256 of the weights it was fitted for, by their roles.
        sha256: of the file.
    """

    temperature: float
    suspicious_from: float
    abstain_above: float
    recall: float
    specificity: float
    weights: Mapping[str, str]
    sha256: str

    def applied(self, probabilities: Mapping[str, float]) -> dict[str, float]:
        """Returns the probabilities at this temperature; their order stays, and so does the class."""
        logits = np.log(np.clip(list(probabilities.values()), 1e-12, None)) / self.temperature
        return dict(zip(probabilities, softmax(logits).tolist(), strict=True))

    def refuse_other_weights(self, weights: Mapping[str, str]) -> None:
        """Makes sure that it was fitted for these weights.

        Args:
            weights: sha256 by role, of those there are.

        Raises:
            BreastkitError: if not.
        """
        others = [role for role, sha256 in weights.items() if self.weights.get(role) != sha256]
        if others:
            raise BreastkitError(
                f"The calibration {self.sha256[:12]} was fitted for other weights ({', '.join(others)}); fit one for "
                "these with 'breastkit calibrate us'."
            )


def read_calibration(path: str | Path) -> Calibration:
    """Reads the file that ``breastkit calibrate us`` wrote.

    Raises:
        BreastkitError: if it is missing or another file.
    """
    path = Path(path)
    if not path.is_file():
        raise BreastkitError(f"{path} does not exist; make it with 'breastkit calibrate us'.")
    content = path.read_bytes()
    try:
        facts = json.loads(content)
        numbers = {name: float(facts[name]) for name in _NUMBERS}
        weights = {str(role): str(sha256) for role, sha256 in facts["weights"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BreastkitError(f"{path} is no calibration; make it with 'breastkit calibrate us'.") from error
    return Calibration(**numbers, weights=weights, sha256=hashlib.sha256(content).hexdigest())
