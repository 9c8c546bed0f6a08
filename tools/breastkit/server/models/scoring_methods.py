"""What can be measured of models and labels."""

from __future__ import annotations

from enum import StrEnum


class Method(StrEnum):
    """What is measured."""

    DICE = "dice"
    UNCERTAINTY = "uncertainty"


MEASURED = {
    Method.DICE: "Dice of the models against the saved labels",
    Method.UNCERTAINTY: "How unsure the models are of the images without a label",
}
