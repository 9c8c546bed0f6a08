"""What the report of ultrasound pictures says: class with calibrated probabilities, pictures, doubts, and the rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from breastkit.findings.findings_json import model_facts
from breastkit.findings.mri_report import models_table
from breastkit.findings.study_findings import Model, PictureFindings
from breastkit.findings.ultrasound_csv import table_row
from breastkit.findings.ultrasound_png import drawn
from breastkit.findings.ultrasound_views import Views
from breastkit.inference.ultrasound import CLASSES
from breastkit.metrics.classification import MALIGNANT
from breastkit.report.document import Bars, Block, Card, Document, Group, Picture, Row, Section, Table, Text, Warnings
from breastkit.report.page import number, percent, plural

# Pages of more pictures than this would be slow to open; the files of all of them lie beside the page.
_PICTURED = 60
_HEIGHT = 320
_ROLES = {
    "segmenter": "outlines the lesion",
    "classifier": "benign or malignant",
    "normal_classifier": "normal or not",
    "calibration": "calibration to pictures of one's own",
}
_UNSURE = "Too uncertain to be relied on: look at it yourself."
_YES_NO = {0: "no", 1: "yes", "": "–"}


@dataclass(frozen=True)
class _Shown:
    """What is kept of a picture."""

    row: Mapping[str, Any]
    suspicious_from: float
    doubts: tuple[str, ...]
    pictures: tuple[Picture, ...]


class PicturesReport:
    """The report of all pictures of a run, the most probably malignant first."""

    def __init__(self) -> None:
        self._shown: list[_Shown] = []
        self._models: Sequence[Model] = ()
        self._package = ""
        self._views = Views()

    def add(self, findings: PictureFindings) -> None:
        """Keeps what is told of a picture."""
        self._shown.append(_shown(findings))
        self._models, self._package = findings.models, findings.package
        self._views.add(findings)

    def document(self, problems: Sequence[str] = ()) -> Document:
        """Returns the report.

        Args:
            problems: sentences on pictures that could not be used.
        """
        shown = sorted(self._shown, key=lambda entry: -entry.row["p_malignant"])
        rows = [entry.row for entry in shown]
        pictures = Section("pictures", "Pictures", [*_about(len(rows)), *(_group(one) for one in shown[:_PICTURED])])
        tables = [*_results(rows), *_cases(self._views.rows())]
        return Document(
            kind="Breast ultrasound: outline, class and what mattered for it",
            title=rows[0]["file"] if len(rows) == 1 else "Breast ultrasound",
            lead=_lead(rows),
            cards=_cards(rows),
            warnings=Warnings(problems, "Could not be read") if problems else None,
            sections=[*tables, pictures, Section("rule", "How it was decided", self._rule())],
        )

    def _rule(self) -> list[Block]:
        facts = model_facts(self._models)
        return [*(Text(text) for text in _rule(facts)), models_table(self._models, _ROLES, self._package)]


def picture_document(findings: PictureFindings) -> Document:
    """Returns the report of one picture."""
    report = PicturesReport()
    report.add(findings)
    return report.document()


def _shown(findings: PictureFindings) -> _Shown:
    row = table_row(findings)
    found = "The outlined lesion" if row["lesion_area_px"] else "No lesion was outlined"
    words = {
        "picture": ("The picture as it came", "picture"),
        "overlay": (found, "outline" if row["lesion_area_px"] else "no lesion outlined"),
        "explanation": (f"Where the network looked for {row['class']}", f"what mattered for {row['class']}"),
    }
    arrays = {"picture": findings.picture.gray, **drawn(findings)}
    pictures = tuple(
        Picture.of(array, f"{words[kind][0]}: {row['file']}", words[kind][1], height=_HEIGHT)
        for kind, array in arrays.items()
    )
    return _Shown(row, findings.reading.suspicious_from, findings.doubts, pictures)


def _lead(rows: Sequence[Mapping[str, Any]]) -> str:
    first = rows[0]
    flagged = "suspicious" if first["suspicious"] else "not suspicious"
    surest = f"malignant with {percent(first['p_malignant'], 1)}, {flagged} by the operating point"
    if len(rows) == 1:
        area = f"a lesion of {number(first['lesion_area_px'])} pixels was outlined"
        outlined = area if first["lesion_area_px"] else "no lesion was outlined"
        return f"Read as {first['class']}: {surest}; {outlined}."
    suspicious = sum(row["suspicious"] for row in rows)
    return (
        f"{suspicious or 'None'} of {plural(len(rows), 'picture')} {'are' if suspicious > 1 else 'is'} suspicious. The "
        f"most probably malignant comes first: {first['file']}, {surest}."
    )


def _cards(rows: Sequence[Mapping[str, Any]]) -> list[Card]:
    if len(rows) == 1:
        return []
    counts = Counter(row["class"] for row in rows)
    suspicious, unsure = (sum(row[name] for row in rows) for name in ("suspicious", "abstain"))
    return [
        *(Card(number(counts[name]), name) for name in CLASSES),
        Card(number(suspicious), "suspicious: flagged at the operating point", warn=suspicious > 0),
        Card(number(unsure), "too uncertain: look at these yourself", warn=unsure > 0),
    ]


def _results(rows: Sequence[Mapping[str, Any]]) -> list[Section]:
    if len(rows) == 1:
        return []
    columns = ["File", "Class", "Suspicious", "Normal", "Benign", "Malignant", "Uncertainty", "Too uncertain",
               "Lesion, pixels", "Remarks"]  # fmt: skip
    cells = [
        [
            row["file"],
            row["class"],
            _YES_NO[row["suspicious"]],
            *(percent(row[f"p_{name}"], 1) for name in CLASSES),
            f"{row['uncertainty']:.2f}",
            _YES_NO[row["abstain"]],
            number(row["lesion_area_px"]),
            _remarks(row),
        ]
        for row in rows
    ]
    caption = "Every picture, with calibrated probabilities of its classes"
    return [Section("results", "Results", [Table(columns, cells, caption, texts=3, wide=(9,))])]


def _remarks(row: Mapping[str, Any]) -> str:
    words = row["quality"].replace(";", ", ").replace("_", " ")
    return ", ".join(word for word in ("unfamiliar" if row["unfamiliar"] == 1 else "", words) if word) or "–"


def _cases(rows: Sequence[Mapping[str, Any]]) -> list[Section]:
    if not rows:
        return []
    columns = ["Case", "Views", "Class", "Suspicious", "Normal", "Benign", "Malignant", "Disagreement", "Too uncertain"]
    cells = [
        [
            row["case"],
            str(row["pictures"]),
            row["class"],
            _YES_NO[row["suspicious"]],
            *(percent(row[f"p_{name}"], 1) for name in CLASSES),
            f"{row['disagreement']:.2f}",
            _YES_NO[row["abstain"]],
        ]
        for row in rows
    ]
    note = (
        "The probabilities are means over the views of a case; the disagreement is how far apart the views' "
        "probabilities of malignant are."
    )
    return [Section("cases", "Cases", [Text(note), Table(columns, cells, texts=4)])]


def _about(count: int) -> list[Block]:
    more = f" The first {_PICTURED} are shown; the files of all of them lie beside this report."
    text = (
        "Amber: the outline the network drew. In the last picture of each, brighter places mattered more for the class."
    )
    return [Text(text + (more if count > _PICTURED else ""), soft=True)]


def _group(shown: _Shown) -> Group:
    row = shown.row
    shares = [(name, row[f"p_{name}"], percent(row[f"p_{name}"], 1)) for name in CLASSES]
    area = f"The lesion covers {number(row['lesion_area_px'])} pixels." if row["lesion_area_px"] else "No lesion."
    caption = f"{area} The mark is where malignant becomes suspicious, {percent(shown.suspicious_from, 1)}."
    bars = Bars(
        [*shares, ("uncertainty", row["uncertainty"], f"{row['uncertainty']:.2f}")],
        {MALIGNANT: shown.suspicious_from},
        caption,
    )
    doubts = [*([_UNSURE] if row["abstain"] else []), *shown.doubts]
    title = f"{row['file']}: {row['class']}{', suspicious' if row['suspicious'] else ''}"
    return Group(title, [Warnings(doubts), Row(shown.pictures), bars], warn=bool(row["abstain"]))


def _rule(facts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns how class, suspicion and abstention come about, by the limits that decided."""
    normal, classifier = facts["normal_classifier"], facts["classifier"]
    calibrated = "calibration" in facts
    limits = facts["calibration"] if calibrated else classifier
    reached = ""
    if "recall" in limits:
        flagged, others = round(100 * limits["recall"]), round(100 * (1 - limits["specificity"]))
        reached = (
            f": at this setting {flagged} of 100 malignant lesions were flagged, and {others} of 100 others too, where "
            "it was chosen"
        )
    alone = "" if calibrated else f" Where no lesion was outlined it is {normal['suspicious_from']:.3f}."
    other = "" if calibrated else f" ({normal['abstain_above']:.2f} for {normal['architecture']})"
    texts = [
        f"The probability of normal is that of {normal['architecture']}; the rest is shared out between benign and "
        f"malignant by {classifier['architecture']}. The class is the most probable one. Where no lesion was outlined, "
        f"{normal['architecture']} decides alone.",
        f"A picture is suspicious from a probability of malignant of {limits['suspicious_from']:.3f} on, the operating "
        f"point, whatever its class{reached}.{alone}",
        "The uncertainty is the entropy of the mean of many samples with dropout, 0 to 1, of the network that decided. "
        f"Above {limits['abstain_above']:.2f}{other} it abstains: the class is still told, and is not to be relied on. "
        "It abstains from unfamiliar pictures too: those farther from all it has learnt from, by what a layer in the "
        "middle of the network makes of them, than any picture of these hospitals that was kept aside.",
    ]
    if calibrated:
        texts.append(
            f"Calibrated by the file whose sha256 begins with {limits['sha256']}: the logarithms of the probabilities "
            f"are divided by {limits['temperature']:.3f}."
        )
    return texts
