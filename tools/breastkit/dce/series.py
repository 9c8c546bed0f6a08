"""Which series or files of a breast MRI study are the dynamic phases: before contrast, first after it, and so on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from breastkit.dce.arrival import find_arrival
from breastkit.dicom import FolderContents, Series, holds_dicom, read_folder, split_times
from breastkit.errors import BreastkitError
from breastkit.images import VOLUME_SUFFIXES, stem

# Phases of a case as MAMA-MIA and nnU-Net number them; 0000 is the one before contrast.
_NUMBERED = re.compile(r"^(?P<name>.+)_(?P<phase>\d{4})$")
_PRE = re.compile(
    r"(?<![a-z])(pre|precontrast|native|unenhanced|w/?o|without|non[- ]?contrast|ph(ase)? ?0)(?![a-z])", re.I
)
_POST = re.compile(r"(?<![a-z])(post|\d+ ?(st|nd|rd|th)|pass|ph(ase)? ?[1-9]|gad|gd|\+ ?c)", re.I)
# Made from the phases, or of another kind.
_OTHER = re.compile(
    r"(?<![a-z])(sub|subtract\w*|mip|mpr|scout|loc\w*|t2\w*|stir|dwi|diff\w*|adc|reform\w*|3 ?plane|cal\w*|cad|mask)"
    r"(?![a-z])",
    re.I,
)
_WHERE = "name them with --pre and --post"
# So many volumes in one series are a fast scan, whose first ones after the injection show no contrast yet.
_FAST = 8


@dataclass(frozen=True)
class StudyPhases:
    """The phases of a study.

    Attributes:
        name: of the study.
        pre: the phase before contrast, a NIfTI file or a DICOM series.
        posts: those after it, in time.
        skipped: what was left aside, and why.
        doubts: sentences on choices that may be wrong.
    """

    name: str
    pre: Path | Series
    posts: tuple[Path | Series, ...]
    skipped: tuple[tuple[Path, str], ...] = ()
    doubts: tuple[str, ...] = field(default=())

    @property
    def all(self) -> list[Path | Series]:
        """All phases, the one before contrast first."""
        return [self.pre, *self.posts]


def find_phases(
    study: str | Path, *, pre: str | int | None = None, post: str | int | Sequence[str | int] | None = None
) -> StudyPhases:
    """Finds the dynamic phases of one study.

    A folder with NIfTI files ``x_0000.nii.gz``, ``x_0001.nii.gz`` and so on, or with DICOM series in it or in its
    folders. Series of one kind, that is with the same number of images, are told apart by their descriptions, and put
    in order by time.

    Args:
        study: the folder.
        pre: the phase before contrast where the choice is not to be made here: the number, description or folder of a
            series, or the name of a NIfTI file.
        post: the first phase after contrast, or all of them in order, likewise.

    Raises:
        BreastkitError: if it holds several patients or studies, or not both phases.
    """
    study = Path(study)
    if not study.is_dir():
        raise BreastkitError(f"{study} is not a folder; give the folder of one study.")
    posts = [] if post is None else [post] if isinstance(post, str | int) else list(post)
    if any(path.name.lower().endswith(VOLUME_SUFFIXES) for path in study.iterdir()):
        return _of_files(study, pre, posts)
    if not any(holds_dicom(folder) for folder in (study, *(path for path in study.rglob("*") if path.is_dir()))):
        raise BreastkitError(
            f"{study} holds neither DICOM series nor NIfTI phases (x_0000.nii.gz, x_0001.nii.gz); give the folder of "
            "one study."
        )
    return phases_among(read_folder(study), study, pre=pre, posts=posts)


def numbered_phases(folder: Path) -> tuple[dict[str, list[Path]], list[tuple[Path, str]]]:
    """Returns the numbered NIfTI phases of every study in a folder, in order, and what was left aside.

    Raises:
        BreastkitError: if a study lacks the phase before contrast or the first one after it.
    """
    studies: dict[str, dict[int, Path]] = {}
    skipped = []
    for path in sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] != "."):
        match = _NUMBERED.match(stem(path)) if path.name.lower().endswith(VOLUME_SUFFIXES) else None
        if match is None:
            skipped.append((path, "not a numbered phase"))
            continue
        phases = studies.setdefault(match["name"], {})
        if int(match["phase"]) in phases:
            raise BreastkitError(f"{path} and {phases[int(match['phase'])].name} are the same phase; remove one.")
        phases[int(match["phase"])] = path
    for name, phases in studies.items():
        if 0 not in phases or len(phases) < 2:
            raise BreastkitError(
                f"{folder} holds of the study {name} only {', '.join(path.name for path in phases.values())}; "
                "the phase before contrast (_0000) and the first one after it are needed."
            )
    return {name: [phases[number] for number in sorted(phases)] for name, phases in studies.items()}, skipped


def _of_files(study: Path, pre: str | int | None, posts: Sequence[str | int]) -> StudyPhases:
    if pre is not None and posts:
        paths = [study / str(name) for name in (pre, *posts)]
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise BreastkitError(f"{missing[0]} does not exist; give --pre and --post names of files in {study}.")
        return StudyPhases(study.name, paths[0], tuple(paths[1:]))
    studies, skipped = numbered_phases(study)
    if len(studies) != 1:
        found = f"several studies ({', '.join(studies)})" if studies else "no numbered phases"
        raise BreastkitError(
            f"{study} holds {found}; give a folder with the phases x_0000.nii.gz, x_0001.nii.gz of one, or {_WHERE}."
        )
    name, paths = next(iter(studies.items()))
    return StudyPhases(name, paths[0], tuple(paths[1:]), tuple(skipped))


def phases_among(
    contents: FolderContents, study: Path, *, pre: str | int | None = None, posts: Sequence[str | int] = ()
) -> StudyPhases:
    """Finds the dynamic phases among the series of one study, wherever their files lie.

    Args:
        contents: the series.
        study: what sentences call the study, and what it is named after.
        pre: see `find_phases`.
        posts: those after contrast, likewise.

    Raises:
        BreastkitError: as `find_phases`.
    """
    skipped = list(contents.skipped)
    series = [one for one in contents.series if one.modality == "MR"]
    skipped += [(one.files[0].parent, f"{one}, {one.modality}") for one in contents.series if one not in series]
    _refuse_several(study, series)
    series, aside, short = _in_times(series)
    skipped += aside
    if pre is not None and posts:
        chosen = [_named(study, series, wanted) for wanted in (pre, *posts)]
        return StudyPhases(study.name, chosen[0], tuple(chosen[1:]), tuple(skipped), tuple(short))
    dynamic, others = _dynamic(series)
    skipped += [(one.files[0].parent, f"series {one}, not a dynamic phase") for one in others]
    if len(dynamic) < 2:
        which = f"only {dynamic[0]}" if dynamic else "no dynamic series"
        beside = f" (beside it {', '.join(map(str, others))})" if dynamic and others else ""
        raise BreastkitError(
            f"{study} holds {which}{beside}; the phase before contrast and the first one after it, with equally many "
            f"images, are needed. If they are there, {_WHERE}."
        )
    if pre is None or not posts:
        _refuse_alike(study, dynamic)
    if pre is None and not posts and len(dynamic) >= _FAST and len({one.uid for one in dynamic}) == 1:
        return _by_signal(study, dynamic, skipped, short)
    first, doubts = (_named(study, series, pre), short) if pre is not None else _before(dynamic)
    doubts = list(dict.fromkeys([*short, *doubts]))
    rest = [_named(study, series, wanted) for wanted in posts] or [one for one in dynamic if one is not first]
    if not posts:
        late = [one for one in rest if one.time and first.time and one.time < first.time]
        if late:
            doubts.append(f"{late[0]} was taken before {first}, which is used as the phase before contrast; check it.")
        if not all(one.time for one in dynamic):
            doubts.append("The headers do not tell all times, so that phases are in the order of their numbers.")
    return StudyPhases(study.name, first, tuple(rest), tuple(skipped), tuple(doubts))


def _refuse_several(study: Path, series: Sequence[Series]) -> None:
    for kind, values in (("patients", {one.patient for one in series}), ("studies", {one.study for one in series})):
        if len(values) > 1:
            raise BreastkitError(f"{study} holds {len(values)} {kind}; give the folder of one study.")


def _refuse_alike(study: Path, dynamic: Sequence[Series]) -> None:
    """Keeps phases from being put in an order that nothing but chance gives."""
    found: dict[tuple[str, int, str], Series] = {}
    for one in dynamic:
        other = found.setdefault((one.time, one.number, one.description), one)
        if other.uid != one.uid:
            places = " and ".join(sorted(each.files[0].parent.name for each in (one, other)))
            raise BreastkitError(
                f"{study} holds several series {one} with one number and time, in {places}, which nothing tells apart; "
                f"{_WHERE}."
            )


def _in_times(series: Sequence[Series]) -> tuple[list[Series], list[tuple[Path, str]], list[str]]:
    """Returns the series with those taken apart that hold several volumes, those left aside and what was left out."""
    parts: list[Series] = []
    aside: list[tuple[Path, str]] = []
    remarks: list[str] = []
    for one in series:
        try:
            # Pictures made from the phases lie where they please; nothing is read of them.
            found, words = ((one,), ()) if _OTHER.search(one.description) else split_times(one)
        except BreastkitError as error:
            aside.append((one.files[0].parent, str(error).rstrip(".")))
            continue
        parts += found
        remarks += words
    return parts, aside, remarks


def _by_signal(
    study: Path, volumes: Sequence[Series], skipped: Sequence[tuple[Path, str]], short: Sequence[str]
) -> StudyPhases:
    arrival = find_arrival(volumes)
    remark = (
        f"{volumes[0].files[0].parent.name} holds {len(volumes)} volumes in one series: by their signal contrast "
        f"arrives after volume {arrival.pre + 1}, and volume {arrival.posts[0] + 1}, {arrival.early_s:.0f} seconds "
        "later, is taken as the first phase after it; check it."
    )
    posts = tuple(volumes[number] for number in arrival.posts)
    return StudyPhases(study.name, volumes[arrival.pre], posts, tuple(skipped), (*short, remark))


def _dynamic(series: Sequence[Series]) -> tuple[list[Series], list[Series]]:
    """Returns the series that are phases, in time, and the others."""
    able = [one for one in series if not _OTHER.search(one.description) and one.images > 1]
    # Phases have equally many images; where several kinds do, those whose descriptions speak of contrast count more.
    weights: Counter[int] = Counter()
    for one in able:
        weights[one.images] += 1 + 10 * bool(_PRE.search(one.description)) + 10 * bool(_POST.search(one.description))
    most = max(weights, key=lambda images: (weights[images], images), default=0)
    phases = [one for one in able if one.images == most]
    phases.sort(key=lambda one: (one.time or "", one.number))
    return phases, [one for one in series if one not in phases]


def _before(phases: Sequence[Series]) -> tuple[Series, list[str]]:
    named = [one for one in phases if _PRE.search(one.description) and not _POST.search(one.description)]
    if len(named) == 1:
        return named[0], []
    why = "several series are called so" if named else "no description says which it is"
    first = (named or list(phases))[0]
    return first, [f"{first} is taken as the phase before contrast because it is the earliest; {why}, check it."]


def _named(study: Path, series: Sequence[Series], wanted: str | int) -> Series:
    text = str(wanted)
    matching = [one for one in series if text in (str(one.number), one.description, one.files[0].parent.name, one.uid)]
    if len(matching) != 1:
        listed = ", ".join(f"{one.number}: {one}" for one in series)
        what = "several series" if matching else "no series"
        raise BreastkitError(f"{study} holds {what} called {text}; give the number of one of: {listed}.")
    return matching[0]
