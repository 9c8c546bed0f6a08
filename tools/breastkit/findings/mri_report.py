"""What the report of an MRI study says: lesions with slices, projections, curves and measures; doubts before all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from breastkit.dce.glands import DENSITY
from breastkit.dce.plausibility import counts_from_zero
from breastkit.dicom import Series, seconds_between
from breastkit.findings.mri_pictures import MriPictures
from breastkit.findings.study_findings import Measurement, Model, MriFindings, StudyLesion
from breastkit.report.document import (
    Beside,
    Block,
    Card,
    Chart,
    Document,
    Group,
    Row,
    Section,
    Strip,
    Table,
    Text,
    Warnings,
)
from breastkit.report.page import SERIES, figure, number, percent, plural

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SLICES = 5
_NONE = "–"
_TITLES = {
    "volume_mm3": "Volume",
    "longest_diameter_mm": "Longest diameter",
    "sphericity": "Sphericity (1: a ball)",
    "motion_mm": "Motion between phases",
    "distance_to_skin_mm": "Distance to skin",
    "distance_to_chest_wall_mm": "Distance to chest wall",
    "distance_to_nipple_mm": "Distance to nipple",
    "enhancement": "Enhancement by phase",
    "wash_in": "Wash-in, first phase after contrast",
    "wash_out": "Wash-out, first to last phase",
    "signal_enhancement_ratio": "Signal enhancement ratio",
    "kinetic_class": "Curve type",
}
_CURVES = {"persistent": "persistent (type 1)", "plateau": "plateau (type 2)", "washout": "washout (type 3)"}
_UNITS = {"mm3": "mm³", "mm2": "mm²", "1": ""}
_SHARES = ("wash_in", "wash_out")
_ROLES = {"breasts": "outlines the breasts", "segmenter": "outlines lesions", "detector": "finds lesions"}
_LIMITS = (
    "The score says how sure the detector is that there is a lesion, from 0 to 1; it is not the probability of cancer. "
    "Lesions that hardly enhance, or are smaller than slices are thick, are missed, and vessels, lymph nodes and "
    "enhancing tissue are taken for lesions. What was not found may be there.",
    "Sides are those of the patient; they follow from the plane between both breasts, and none is told where that is "
    "not plain. Distances are the shortest ones between outlines. The curve type compares the last phase with the "
    "first one after contrast: persistent where the signal rises by more than 10 %, washout where it falls by more, "
    "else plateau. Enhancement is the change of the mean signal as a share of the signal before contrast.",
    "How often the networks were right, and on whose images, stands in their model cards.",
)  # fmt: skip
_documents: WeakKeyDictionary[MriFindings, Document] = WeakKeyDictionary()


def mri_document(findings: MriFindings) -> Document:
    """Returns the report of a study; its pictures are drawn once, whatever forms it takes."""
    if findings not in _documents:
        _documents[findings] = _document(findings)
    return _documents[findings]


def _document(findings: MriFindings) -> Document:
    shown, lesions = MriPictures(findings), findings.lesions
    curves = _Curves.of(findings, shown)
    overview = Section("overview", "Overview", [*_overview(lesions), *_projections(shown, findings)])
    details = [
        Group(f"Lesion {n}: {_where(lesion)}, score {lesion.score:.2f}", _lesion_blocks(n, lesion, shown, curves))
        for n, lesion in enumerate(lesions, start=1)
    ]
    sections = [overview]
    if findings.tissue:
        sections.append(Section("glands", "Fibroglandular tissue", _glands(findings)))
    if details:
        sections.append(Section("lesions", "Lesions", details))
    doubts = Warnings(findings.doubts, "Doubtful: check this before anything else") if findings.doubts else None
    return Document(
        kind="Dynamic breast MRI: lesions, their outlines and measures",
        title=findings.name,
        lead=_lead(lesions),
        cards=_cards(findings),
        warnings=doubts,
        sections=[*sections, Section("made", "How it was made", _made(findings))],
    )


def _lead(lesions: Sequence[StudyLesion]) -> str:
    if not lesions:
        return "No lesion was found."
    first = lesions[0]
    which = "One lesion was found" if len(lesions) == 1 else f"{len(lesions)} lesions were found; the surest one"
    words = [f"{which}, {_where(first)}" if len(lesions) == 1 else f"{which} lies {_where(first)}"]
    told = {one.name: _value(one) for one in first.measurements if one.value not in (None, "")}
    if "longest_diameter_mm" in told:
        words.append(f"{told['longest_diameter_mm']} across")
    if "volume_mm3" in told:
        words.append(told["volume_mm3"].split(" (")[0])
    if "kinetic_class" in told:
        words.append(f"curve {told['kinetic_class']}")
    return f"{', '.join(words)}, with a score of {first.score:.2f}."


def _where(lesion: StudyLesion) -> str:
    if lesion.side is None:
        return "side not determined"
    place = f", {lesion.quadrant}" if lesion.quadrant else ""
    hour = f", {lesion.clock} o'clock" if lesion.clock else ""
    return f"in the {lesion.side} breast{place}{hour}"


def _cards(findings: MriFindings) -> list[Card]:
    voxel_ml = float(np.prod(findings.phases.spacing)) / 1000
    cards = [Card(str(len(findings.lesions)), "lesion" if len(findings.lesions) == 1 else "lesions")]
    for side, mask in findings.breasts().items():
        volume = f"{number(float(np.count_nonzero(mask)) * voxel_ml)} ml"
        inside = [lesion for lesion in findings.lesions if lesion.side == side]
        cards.append(Card(volume, f"{side} breast, {plural(len(inside), 'lesion')}" if side else "breasts"))
    doubts = len(findings.doubts)
    return [*cards, Card(str(doubts), "doubt" if doubts == 1 else "doubts", warn=doubts > 0)]


def _overview(lesions: Sequence[StudyLesion]) -> list[Block]:
    if not lesions:
        return [Text("No lesion was outlined. The projections below show what enhances.")]
    # One more column a measurement would not fit a page; all of them stand beside each lesion.
    names = [name for name in _TITLES if name in _SHORT and any(_told(lesion, name) != _NONE for lesion in lesions)]
    columns = ["Lesion", "Breast", "Score", *(_SHORT[name] for name in names)]
    rows = [
        [
            str(n),
            lesion.side or "not determined",
            f"{lesion.score:.2f}",
            *(_told(lesion, name) or "–" for name in names),
        ]
        for n, lesion in enumerate(lesions, start=1)
    ]
    return [Table(columns, rows, texts=2)]


_SHORT = {
    "volume_mm3": "Volume",
    "longest_diameter_mm": "Diameter",
    "distance_to_skin_mm": "To skin",
    "distance_to_chest_wall_mm": "To chest wall",
    "wash_in": "Wash-in",
    "kinetic_class": "Curve",
}


def _told(lesion: StudyLesion, name: str) -> str:
    """Returns a measurement in a few words, a dash where there is none."""
    for one in lesion.measurements:
        if one.name == name and one.value not in (None, ""):
            return _value(one).split(" (")[0]
    return _NONE


def _value(one: Measurement) -> str:
    """Returns a measurement as a reader wants it."""
    if one.value is None or one.value == "":
        return "not measured"
    if one.name == "kinetic_class":
        return _CURVES.get(str(one.value), str(one.value))
    if one.name == "enhancement":
        return ", ".join(percent(float(change)) for change in str(one.value).split())
    if not isinstance(one.value, int | float):
        return str(one.value)
    if one.name in _SHARES:
        return _signed(one.value)
    if one.unit == "mm3":
        return f"{one.value / 1000:.2f} ml ({number(one.value)} mm³)"
    if one.unit == "mm":
        return f"{one.value:.1f} mm"
    return f"{one.value:.2f} {_UNITS.get(one.unit, one.unit)}".strip()


def _glands(findings: MriFindings) -> list[Block]:
    columns = ["Breast", "Volume", "Fibroglandular", "Share", "Density", "Enhancement, mean", "Upper quarter"]
    rows = [
        [
            side or "not determined",
            f"{number(measured.breast_ml)} ml",
            f"{number(measured.fgt_ml)} ml",
            _NONE if measured.share is None else percent(measured.share),
            measured.density() or _NONE,
            *(_NONE if value is None else _signed(value) for value in (measured.bpe_mean, measured.bpe_quartile)),
        ]
        for side, measured in findings.tissue.items()
    ]
    note = (
        "Enhancement of the glands without lesions, in the first phase after contrast, as a share of their mean signal "
        "before it. Density a to d begins where fibroglandular tissue fills "
        f"{', '.join(percent(least) for least in DENSITY.values())} of the breast; these shares are a convention of "
        "this software, not a reader's category. A rule outlines the glands, roughly: how far it is right stands in "
        "the model card of the tissue bundle."
    )
    return [Table(columns, rows, texts=1), Text(note, soft=True)]


def _signed(share: float) -> str:
    return percent(share) if share >= 0 else f"−{percent(-share)}"


def _projections(shown: MriPictures, findings: MriFindings) -> list[Block]:
    further = len(findings.not_outlined)
    rest = f" Light blue: {plural(further, 'further candidate')}, less sure, not outlined." if further else ""
    numbered = "Pink: the outlined lesions with their numbers." if findings.lesions else ""
    note = (
        "Maximum-intensity projections of the subtraction (first phase after contrast minus the one before it); what "
        f"lies outside the outlined breasts is dimmed. {numbered}{rest}"
    )
    return [Row([shown.projection("axial"), shown.projection("coronal")]), Text(note.strip(), soft=True)]


def _lesion_blocks(n: int, lesion: StudyLesion, shown: MriPictures, curves: _Curves) -> list[Block]:
    strip = shown.strip(lesion, count=_SLICES, name=f"lesion {n}")
    caption = (
        "Axial slices, counted from the feet; front at the top, the patient's right on the left. Pink: the outline. "
        "The bar is 10 mm long."
    )
    rows = [[_TITLES.get(one.name, one.name.replace("_", " ")), _value(one)] for one in lesion.measurements]
    beside = Beside([Table(["Measure", "Value"], rows, texts=2), curves.chart(n, lesion)])
    return [Strip(strip.rows, strip.columns, caption), beside]


class _Curves:
    """How the mean signal of lesions and of the breasts around them runs over the phases."""

    def __init__(self, minutes: list[float] | None, background: list[float], lesions: list[list[float]], shares: bool):
        self._minutes, self._background, self._lesions, self._shares = minutes, background, lesions, shares

    @classmethod
    def of(cls, findings: MriFindings, shown: MriPictures) -> _Curves:
        phases, rest = findings.phases, shown.breast.copy()
        lesions = []
        for lesion in findings.lesions:
            window, mask = shown.outlined(lesion)
            lesions.append(_means([phase[window] for phase in phases.arrays], mask))
            rest[window] &= ~mask
        background = _means(phases.arrays, rest) if rest.any() else []
        return cls(_minutes(findings.sources), background, lesions, counts_from_zero(phases))

    def chart(self, n: int, lesion: StudyLesion) -> Chart:
        """Returns the curves of a lesion and of the breasts."""
        drawn = {f"lesion {n}": self._lesions[n - 1]}
        if self._background:
            drawn["breast tissue around"] = self._background
        changes = {name: _changes(means, shares=self._shares) for name, means in drawn.items()}
        ends = ", ".join(f"{name} {values[-1]:.0f}" for name, values in changes.items())
        unit = "%" if self._shares else "of the signal's own unit"
        alt = f"Enhancement over the phases; at the last one, in {unit}: {ends}"
        return Chart(_drawing(changes, self._minutes, shares=self._shares), alt)


def _means(phases: Sequence[NDArray[Any]], mask: NDArray[Any]) -> list[float]:
    return [float(phase[mask].mean(dtype=np.float64)) for phase in phases]


def _changes(means: Sequence[float], *, shares: bool) -> list[float]:
    before = means[0]
    return [100 * (mean / before - 1) if shares and before > 0 else mean - before for mean in means]


def _minutes(sources: Sequence[Any]) -> list[float] | None:
    """Returns when the phases were taken, from the first one on; None where that is not known."""
    if not all(isinstance(source, Series) for source in sources):
        return None
    seconds = [seconds_between(sources[0], source) for source in sources]
    known = [each / 60 for each in seconds if each is not None]
    rising = all(later > earlier for earlier, later in pairwise(known))
    return known if len(known) == len(sources) and rising else None


def _drawing(changes: dict[str, list[float]], minutes: list[float] | None, *, shares: bool) -> Callable[[], Figure]:
    """Returns what draws curves; it holds their values alone, so that a study's volumes can be given back."""

    def draw() -> Figure:
        drawing, axes = figure(4.4, 3.1)
        for (name, values), colour in zip(changes.items(), (SERIES[1], SERIES[2]), strict=False):
            places = minutes or list(range(len(values)))
            axes.plot(places, values, marker="o", markersize=5, linewidth=2, color=colour, label=name)
        axes.axhline(0, color="#7d8491", linewidth=0.8)
        axes.set_ylabel("change of the signal, %" if shares else "change of the signal", fontsize=9)
        if minutes is None:
            count = len(next(iter(changes.values())))
            axes.set_xticks(range(count), ["before", *(f"{number}" for number in range(1, count))])
            axes.set_xlabel("phase after contrast", fontsize=9)
        else:
            axes.set_xlabel("minutes after the first phase", fontsize=9)
        axes.legend(frameon=False, fontsize=9)
        return drawing

    return draw


def _made(findings: MriFindings) -> list[Block]:
    phases = [
        [str(n), source.description or source.files[0].parent.name, str(source.images)]
        if isinstance(source, Series)
        else [str(n), source.name, str(findings.phases.shape[2])]
        for n, source in enumerate(findings.sources)
    ]
    blocks: list[Block] = [Table(["Phase", "Read from", "Images"], phases, texts=2, wide=(1,))]
    if findings.skipped:
        aside = "; ".join(f"{path.name}: {reason}" for path, reason in findings.skipped)
        blocks.append(Text(f"Left aside: {aside}.", soft=True))
    blocks += [models_table(findings.models, _ROLES, findings.package), *(Text(text) for text in _LIMITS)]
    return blocks


def models_table(models: Sequence[Model], roles: dict[str, str], package: str) -> Table:
    """Returns which weights took part, what they did and by which limits they decided."""
    rows = [
        [
            roles.get(model.role, model.role.replace("_", " ")),
            model.architecture,
            model.sha256[:12],
            ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in model.limits.items()) or "–",
        ]
        for model in models
    ]
    columns = ["Network", "Architecture", "Weights, sha256 begins with", "Limits stored with them"]
    return Table(columns, rows, f"Networks; breastkit {package}", texts=4, wide=(3,))
