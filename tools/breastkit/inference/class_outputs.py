"""What inference of the ultrasound classifier writes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ignite.engine import Engine
from numpy.typing import NDArray
from tqdm import tqdm

from breastkit.bundle import Bundle
from breastkit.images import write_png
from breastkit.inference.results import Results
from breastkit.inference.ultrasound import CLASSES, LesionClassifier
from breastkit.metrics.classification import MALIGNANT, most_probable

# Of all variants, so that the table has one shape: a variant leaves the classes it does not know empty.
COLUMNS = (
    "file",
    "class",
    *(f"p_{name}" for name in CLASSES),
    "uncertainty",
    "abstain",
    "mask",
    "decided_by",
    "suspicious",
)


@dataclass(eq=False)
class ClassOutputs(Results):
    """Handler that writes ``predictions.csv`` and for a picture ``x.png`` the mask that was looked at, ``x_mask.png``.

    The table has the columns ``file, class, p_normal, p_benign, p_malignant, uncertainty, abstain, mask, decided_by,
    suspicious``: the class is the most probable one, suspicious what reaches the operating point.
    A picture without a lesion is decided by a variant that knows normal pictures, where its weights are there;
    otherwise it is said that the answer means little. What could not be used is in ``problems.csv``.

    The batch must hold ``picture`` and ``mask_picture`` as they were read, the output the probabilities ``pred`` and
    their ``pred_uncertainty``.

    Args:
        output_dir: the folder to write to.
        inputs: what inference was given.
        dataset: knows which inputs could not be used.
        classes: names of the classes in order.
        rule: ``threshold`` and ``abstain_above``.
        architecture: the variant's name.
        without_lesion: weights of the variant for pictures with an empty mask.
        bundle: the classification bundle; by default the one there is.
    """

    outputs = ("_mask",)
    columns = COLUMNS
    beside_inputs: ClassVar[bool] = False

    classes: Sequence[str]
    rule: Mapping[str, float]
    architecture: str
    without_lesion: str | Path | None = None
    bundle: Bundle | None = None

    def start(self, engine: Engine) -> None:
        """Makes the folder, and opens the variant for pictures without a lesion where it is needed and there."""
        super().start(engine)
        self._unsure: list[str] = []
        self._second: LesionClassifier | None = None
        if "normal" not in self.classes and self.without_lesion is not None and Path(self.without_lesion).is_file():
            self._second = LesionClassifier(self.without_lesion, bundle=self.bundle)

    def write_input(self, batch: Mapping[str, Any], output: Mapping[str, Any]) -> None:
        """Writes the mask of one picture and adds its row."""
        name, picture = Path(batch["picture"].meta["filename_or_obj"]).name, batch["picture"][0].cpu().numpy()
        mask = batch["mask_picture"][0].cpu().numpy() > 0
        write_png(self.folder / f"{batch['name']}_mask.png", mask * np.uint8(255))
        probabilities = dict(zip(self.classes, output["pred"].tolist(), strict=True))
        answer = self._answer(probabilities, output["pred_uncertainty"], self.rule, self.architecture)
        if not mask.any() and "normal" not in self.classes:
            if self._second is None:
                self._unsure.append(name)
                answer["decided_by"] += ", although no lesion was found"
            else:
                answer = self._of_second(self._second, picture, mask)
        self.rows.append({"file": name, "mask": f"{batch['name']}_mask.png", **answer})

    def _of_second(self, second: LesionClassifier, picture: NDArray[Any], mask: NDArray[Any]) -> dict[str, Any]:
        probabilities, uncertainty = second.classify(second.prepare(picture.round().astype(np.uint8), mask))
        rule = {"threshold": second.threshold, "abstain_above": second.abstain_above}
        return self._answer(probabilities, uncertainty, rule, second.architecture)

    def _answer(
        self, probabilities: Mapping[str, float], uncertainty: float, rule: Mapping[str, float], by: str
    ) -> dict[str, Any]:
        label = most_probable(probabilities)
        answer: dict[str, Any] = {"class": label, "uncertainty": round(float(uncertainty), 4), "decided_by": by}
        answer["suspicious"] = int(probabilities[MALIGNANT] >= rule["threshold"])
        answer["abstain"] = int(float(uncertainty) > rule["abstain_above"])
        return answer | {f"p_{name}": round(float(value), 4) for name, value in probabilities.items()}

    def finish(self, engine: Engine) -> None:
        """Says which pictures without a lesion were decided by a variant that knows no normal."""
        for name in self._unsure:
            tqdm.write(
                f"{name}: no lesion was found, and this variant knows benign and malignant alone; its answer means "
                "little. Name weights that know normal pictures with --without_lesion.",
                file=sys.stderr,
            )
        super().finish(engine)
