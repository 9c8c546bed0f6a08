"""What is made of a classifier's logits, chosen on the validation pictures after training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from breastkit.atomic import atomic_path
from breastkit.errors import BreastkitError
from breastkit.logs import get_logger
from breastkit.metrics.calibration import calibration_error, fit_temperature
from breastkit.metrics.classification import (
    MALIGNANT,
    auc,
    choose_operating_point,
    class_probabilities,
)
from breastkit.training.distributed import is_main, sum_over_processes
from breastkit.training.validation_search import ValidationSearch
from breastkit.weights import add_facts, read_model_json

OPINIONS = "opinions.npz"
logger = get_logger(__name__)


@dataclass(eq=False)
class DecisionSearch(ValidationSearch):
    """Chooses temperature, operating point and abstention and stores them with the run's weights.

    In ``model.json``: ``temperature``, ``threshold`` and ``operating_point`` (the highest threshold on the probability
    of malignant that finds the share of the malignant ones asked for), ``abstain_above`` (the uncertainty above which
    the most uncertain pictures lie) and figures on the validation pictures. The logits it was chosen by are kept in
    ``opinions.npz``, so that a rule can be chosen over several folds.

    Args:
        folder: the run's output folder.
        evaluator: the run's engine that validates, on `LesionPictures`; its network gets the run's weights.
        inferer: gives logits, see `breastkit.inference.ClassSampling`.
        classes: names of the classes in order.
        recall: share of the malignant pictures to be found.
        coverage: share of the pictures to be answered rather than abstained from.
    """

    classes: Sequence[str]
    recall: float = 0.95
    coverage: float = 0.9

    def choose(self) -> dict[str, Any]:
        """Returns what was chosen."""
        logits, labels = self._logits()
        rule = choose_rule(logits, labels, self.classes, recall=float(self.recall), coverage=float(self.coverage))
        if is_main():
            with atomic_path(self.folder / OPINIONS) as temporary:
                np.savez_compressed(temporary, opinions=logits.astype(np.float32), labels=labels)
            figures = figures_of(rule, logits, labels, self.classes)
            add_facts(self.folder, **rule, figures=figures)
            text = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
            logger.info("Temperature %.2f, operating point %.3f: %s.", rule["temperature"], rule["threshold"], text)
        return rule

    def _logits(self) -> tuple[NDArray[Any], NDArray[Any]]:
        logits, labels = torch.zeros(0), torch.zeros(self.cases, dtype=torch.int64)
        for output, batch in self.outputs("Decision search"):
            given = output.double().cpu()
            if not len(logits):
                logits = torch.zeros(self.cases, *given.shape[1:], dtype=torch.float64)
            cases = torch.as_tensor(batch["case"])
            logits[cases], labels[cases] = given, torch.as_tensor(batch["label"])
        return sum_over_processes(logits).numpy(), sum_over_processes(labels).numpy()


def choose_rule(
    logits: NDArray[Any], labels: NDArray[Any], classes: Sequence[str], *, recall: float = 0.95, coverage: float = 0.9
) -> dict[str, Any]:
    """Returns temperature, threshold, operating point and ``abstain_above`` chosen on pictures with known classes.

    Args:
        logits: logits ``(pictures, 1 + samples, classes)``.
        labels: indices of the true classes.
        classes: their names in order.
        recall: share of the malignant pictures to be found.
        coverage: share of the pictures to be answered.
    """
    # As it is stored: with another one, uncertainties that hardly differ would all lie above the limit.
    temperature = round(fit_temperature(logits[:, 0], labels), 5)
    probabilities, uncertainty = class_probabilities(logits, temperature)
    malignant = list(classes).index(MALIGNANT)
    point = choose_operating_point(probabilities[:, malignant], labels == malignant, recall=recall)
    return {
        "temperature": temperature,
        "threshold": point.threshold,
        "operating_point": {"class": MALIGNANT, **point._asdict()},
        "abstain_above": float(np.quantile(uncertainty, coverage)),
    }


def rule_over(runs: Sequence[str | Path], **options: float) -> dict[str, Any]:
    """Returns the rule chosen over what the runs of a cross-validation had not seen, each picture by its own fold.

    Args:
        runs: their output folders.
        options: ``recall`` and ``coverage``, see `choose_rule`.

    Raises:
        BreastkitError: if a run is not finished, or they are of different classes.
    """
    found = []
    for run in map(Path, runs):
        if not (run / OPINIONS).is_file():
            raise BreastkitError(f"{run / OPINIONS} does not exist; finish the run of this fold first.")
        with np.load(run / OPINIONS) as kept:
            found.append((kept["opinions"].astype(np.float64), kept["labels"], read_model_json(run)["classes"]))
    logits, labels, classes = zip(*found, strict=True)
    if any(one != classes[0] for one in classes):
        raise BreastkitError(f"{', '.join(map(str, runs))} tell other classes apart; name folds of one variant.")
    return choose_rule(np.concatenate(logits), np.concatenate(labels), classes[0], **options)


def stored_rule(facts: Mapping[str, Any]) -> dict[str, float]:
    """Returns temperature, threshold and ``abstain_above`` out of a ``model.json``.

    Raises:
        BreastkitError: if they were never chosen.
    """
    names = ("temperature", "threshold", "abstain_above")
    missing = [name for name in names if name not in facts]
    if missing:
        raise BreastkitError(
            f"The model.json of the run {facts.get('run', '')} lacks {', '.join(missing)}; finish its training."
        )
    return {name: float(facts[name]) for name in names}


def figures_of(
    rule: dict[str, Any], logits: NDArray[Any], labels: NDArray[Any], classes: Sequence[str]
) -> dict[str, float]:
    """Returns what a rule reaches on pictures; on those it was chosen on it flatters itself."""
    probabilities, uncertainty = class_probabilities(logits, rule["temperature"])
    decided = probabilities.argmax(1)
    malignant = list(classes).index(MALIGNANT)
    answered = uncertainty <= rule["abstain_above"]
    return {
        "val_auc_decided": auc(probabilities, labels),
        "val_accuracy": float((decided == labels).mean()),
        "val_malignant_recall": rule["operating_point"]["recall"],
        "val_specificity": rule["operating_point"]["specificity"],
        "val_calibration_error": calibration_error(probabilities[:, malignant], labels == malignant),
        "val_accuracy_answered": float((decided == labels)[answered].mean()),
    }
