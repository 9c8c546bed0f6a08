"""One breast MRI study through the whole chain: phases, breasts, lesions with their outlines and what is measured."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from breastkit.atomic import recorded_writes, refuse_unwritable
from breastkit.bundle import Bundle
from breastkit.dce.correction import MOVED_MM, REFERENCE, Motion, correct_phases, motions_of, without_motion
from breastkit.dce.features import (
    UNITS,
    air_around,
    kinetic_features,
    motion_features,
    place_features,
    shape_features,
)
from breastkit.dce.glands import GlandMeasures, gland_measures, outline_glands
from breastkit.dce.landmarks import ChestWall, nipples, quadrant_and_clock
from breastkit.dce.phases import DcePhases, read_phases
from breastkit.dce.plausibility import counts_from_zero, doubts_about
from breastkit.dce.series import StudyPhases, find_phases
from breastkit.dce.sides import breasts_by_side, midline_mm, side_of
from breastkit.detection.boxes_file import read_boxes
from breastkit.detection.find_lesions import lesions_in_breast
from breastkit.dicom import Series
from breastkit.dicom.derived_objects import Side
from breastkit.dicomweb.archive import checked_address
from breastkit.errors import BreastkitError
from breastkit.findings import findings_json
from breastkit.findings.run_record import RunRecord
from breastkit.findings.study_findings import Measurement, Model, MriFindings, StudyLesion
from breastkit.findings.writers import Outputs, chosen_writers, with_json
from breastkit.images import VOLUME_SUFFIXES
from breastkit.inference.mri_detection import LesionDetector
from breastkit.inference.results import say_left_aside
from breastkit.opened_bundle import OpenedBundle
from breastkit.pipelines import BREASTS, LESIONS
from breastkit.pipelines.cohort import Engine, StudyPipeline, refuse_for_cohorts, refuse_options_of_cohorts, run_cohort
from breastkit.pipelines.cohort_studies import files_below, is_dicom_or_named_so
from breastkit.pipelines.exchange import chosen_study, push_objects, study_at_hand
from breastkit.pipelines.mri_outlines import breasts_and_probability, open_breasts, outline_lesions

# What the server calls the whole chain.
NAME = "breast_mri_lesions"
NO_BREAST = "No breast was outlined; check the study."
NO_SIDES = "Which breast is which is not plain: one was scanned or outlined, or they run into one another."
DULL_GLANDS = "What was outlined as fibroglandular tissue does not enhance; its volume, share and density are doubtful."


def run_mri(
    study: str | None = None,
    *,
    out: str,
    pre: str | None = None,
    post: str | None = None,
    boxes: str | None = None,
    most: int = 4,
    segmenter: str | None = None,
    detector: str | None = None,
    register: bool | None = None,
    shading: bool = False,
    formats: str | None = None,
    json: bool = False,
    cohort: bool = False,
    cases: str | None = None,
    workers: int | None = None,
    shard: str | None = None,
    engine: Engine = "processes",
    address: str | None = None,
    pull: str | None = None,
    push: str | None = None,
    networks: MriNetworks | None = None,
) -> Path | str:
    """Outlines breasts, glands and lesions in one dynamic breast MRI study and measures them.

    Writes breast.nii.gz, sides.nii.gz (1 the patient's right breast, 2 the left one), fgt.nii.gz (fibroglandular
    tissue, outlined by a rough rule), lesions.nii.gz (0 background, 1 the lesion with the highest score, 2 the next and
    so on), lesions.csv, study.csv (one row: volumes, density, enhancement of the glands, motion), overlay.png,
    report.html and report.pdf, findings.json (all of it for programs) and run.json, which says what was read, left
    aside and done. Of a DICOM study also dicom/segmentation.dcm (SEG), dicom/report.dcm (SR) and dicom/report_pdf.dcm
    (encapsulated PDF).

    Args:
        study: folder of one study: DICOM series, or NIfTI phases x_0000.nii.gz, x_0001.nii.gz and so on. With --pull
            its StudyInstanceUID.
        out: the folder to write.
        pre: the phase before contrast, by number, description or folder of its series or by file name.
        post: the first phase after contrast, likewise.
        boxes: what the lesion detector wrote (x_boxes.json) instead of running it.
        most: so many candidates at most are outlined.
        segmenter: weights of the lesion segmenter; those in use by default, here and below.
        detector: weights of the lesion detector.
        register: move the phases onto the first one after contrast: true always, false never, by default those that
            moved by more than a millimetre within the breasts.
        shading: take out the shading of the coils (N4).
        formats: write these outputs alone, separated by commas, for example csv,nifti; by default all but sc (key
            pictures as DICOM) and probabilities (how sure the networks are of every voxel, as fractional SEG). For
            seg, sr, sc and probabilities of NIfTI, DICOM images of the outlined phase are written too.
        json: print findings.json.
        cohort: every sub-folder is a study; writes a folder for each, and summary.csv, failures.csv and index.html.
        cases: run on the studies that this table (CSV) names in its column path, or with --pull uid.
        workers: so many studies of a cohort at a time; as many as cores and memory allow by default.
        shard: this part of a cohort alone, for example 1/4.
        engine: run a cohort by processes of this machine or on a Ray cluster.
        address: of the cluster; a new one on this machine by default.
        pull: fetch the study from the archive (PACS) with this DICOMweb address.
        push: store the DICOM objects that are written in the archive with this DICOMweb address.
        networks: of the chain, where they are in memory already.

    Returns:
        The report's page, or what of the asked for comes next to it: the table, the folder; the page of a cohort; the
        text that was asked for with json.

    Raises:
        SomeFailedError: if some studies of a cohort failed; the others are done.
        BreastkitError: if the study cannot be used or weights are missing.
    """
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise BreastkitError(f"{most} candidates cannot be outlined; give --most a whole number from 1 up.")
    writers = chosen_writers(MriFindings, with_json(formats) if json else formats)
    push = checked_address(push) if push else None
    options: dict[str, Any] = {"pre": pre, "post": post, "most": most, "register": register, "shading": shading}
    options |= {"segmenter": segmenter, "detector": detector, "formats": formats, "push": push}
    if cohort or cases is not None:
        refuse_for_cohorts(boxes=boxes, json=json or None)
        studies = MriStudies.of(**options)
        return run_cohort(
            studies,
            study,
            out=out,
            cases=cases,
            pull=pull,
            workers=workers,
            shard=shard,
            engine=engine,
            address=address,
        )
    study = chosen_study(study, pull)
    study = refuse_options_of_cohorts(study, workers=workers, shard=shard, engine=engine, address=address)
    refuse_unwritable(out)
    record = RunRecord("run mri", {**options, "boxes": boxes})
    with study_at_hand(study, step=record.step) as place:
        with record.step("find phases"):
            found = find_phases(place, pre=pre, post=post)
            record.read(found.all, found.skipped)
        say_left_aside(found.skipped)
        _say(found.doubts)
        # Missing weights stop the run before minutes of reading.
        with record.step("open networks"):
            networks = networks or MriNetworks.opened(
                segmenter=segmenter, detector=detector, detects=not boxes, probabilities=_keeps_probabilities(formats)
            )
        findings = examine(
            found, networks, boxes=boxes, most=most, register=register, shading=shading, step=record.step
        )
        _say_motion(findings)
        _say([doubt for doubt in findings.doubts if doubt not in found.doubts])
        with recorded_writes() as written, record.step("write"):
            outputs = Outputs(out, writers, make_dicom=formats is not None)
            outputs.write(findings)
            summary = outputs.finish()
    receipt = None
    if push:
        with record.step("push"):
            receipt = push_objects(outputs.folder, push)
    pushed = receipt.as_json() if receipt else None
    record.write(outputs.folder, models=findings.models, doubts=findings.doubts, written=written, pushed=pushed)
    if receipt:
        receipt.raise_problem()
    return (outputs.folder / findings_json.FILE).read_text(encoding="utf-8").rstrip() if json else summary


@dataclass(frozen=True)
class MriStudies(StudyPipeline):
    """`run_mri` on the studies of a cohort."""

    kind: ClassVar[str] = "mri"
    memory_gb: ClassVar[float] = 3.5
    paths: ClassVar[tuple[str, ...]] = ("segmenter", "detector")

    def weights(self) -> Mapping[str, Path]:
        """Returns the weights it will run with, by role."""
        given, lesions = dict(self.options), Bundle(LESIONS)
        bundles = {"breasts": Bundle(BREASTS), "segmenter": lesions, "detector": lesions.used("detector")}
        return {role: bundle.chosen_weights(given.get(role)) for role, bundle in bundles.items()}

    def open(self) -> MriNetworks:
        """Opens the networks."""
        given = dict(self.options)
        keeps = _keeps_probabilities(given["formats"])
        return MriNetworks.opened(segmenter=given["segmenter"], detector=given["detector"], probabilities=keeps)

    def holds_study(self, folder: Path) -> bool:
        """Tells whether a folder holds NIfTI files, or DICOM in itself or below."""
        files = files_below(folder)
        return any(
            is_dicom_or_named_so(path) or (path.parent == folder and path.name.lower().endswith(VOLUME_SUFFIXES))
            for path in files
        )

    def run(self, study: str, out: Path, networks: MriNetworks) -> None:
        """Runs on one study."""
        run_mri(study, out=str(out), networks=networks, **dict(self.options))


@dataclass(frozen=True)
class MriNetworks:
    """The networks of the chain, in memory.

    Attributes:
        breasts: as `open_breasts` gives it.
        segmenter: outlines lesions.
        detector: says where to look; None where boxes are given.
        probabilities: whether what they say of every voxel is kept.
    """

    breasts: OpenedBundle
    segmenter: OpenedBundle
    detector: LesionDetector | None = None
    probabilities: bool = False

    @classmethod
    def opened(
        cls,
        *,
        segmenter: str | None = None,
        detector: str | None = None,
        detects: bool = True,
        probabilities: bool = False,
    ) -> MriNetworks:
        """Opens the bundles.

        Args:
            segmenter: weights; those in use by default, here and below.
            detector: weights.
            detects: whether the detector is wanted.
            probabilities: whether what they say of every voxel is to be kept.

        Raises:
            BreastkitError: if weights are missing or damaged.
        """
        bundle = Bundle(LESIONS)
        outliner = bundle.opened(weights=segmenter)
        finder = LesionDetector(detector, bundle=bundle.used("detector")) if detects else None
        return cls(open_breasts(probabilities=probabilities), outliner, finder, probabilities)

    @property
    def models(self) -> tuple[Model, ...]:
        """Which weights these are."""
        facts = {"breasts": self.breasts.facts, "segmenter": self.segmenter.facts}
        facts |= {"detector": self.detector.facts} if self.detector else {}
        return tuple(_model(role, each) for role, each in facts.items())


def examine(
    found: StudyPhases,
    networks: MriNetworks,
    *,
    boxes: str | None = None,
    most: int = 4,
    register: bool | None = None,
    shading: bool = False,
    step: Callable[[str], AbstractContextManager[Any]] = nullcontext,
) -> MriFindings:
    """Returns what the networks find in a study.

    Args:
        found: which phases it has.
        networks: of the chain.
        boxes: the candidates, where no detector is asked.
        most: so many of them at most are outlined.
        register: see `run_mri`.
        shading: see `run_mri`.
        step: measures a step of the given name.

    Raises:
        BreastkitError: if the phases or the candidates cannot be used.
        ValueError: if there is neither a detector nor candidates.
    """
    with step("read phases"):
        phases = correct_phases(read_phases(found.all), shading=shading)
    given = read_boxes(boxes, phases.grid) if boxes else None
    with step("outline breasts"):
        breast, breast_probability = breasts_and_probability(phases, networks.breasts)
        midline = midline_mm(breast, phases.grid)
    with step("take out motion"):
        motions = motions_of(phases, breast)
        left_mm = {None: MOVED_MM, True: 0.0, False: math.inf}[register]
        phases = without_motion(phases, motions, above=left_mm)
    with step("detect lesions"):
        if given is not None:
            candidates = lesions_in_breast(given, breast)
        elif networks.detector is not None:
            candidates = networks.detector(phases, breast=breast)
        else:
            raise ValueError("neither a detector nor candidates say where to look")
    with step("outline lesions"):
        lesions = outline_lesions(candidates[:most], phases, networks.segmenter, probabilities=networks.probabilities)
        lesions = [replace(lesion, side=side_of(lesion.mask, phases.grid, midline)) for lesion in lesions]
    with step("outline glands"):
        glands = glands_of(phases, breast, lesions)
    with step("measure"):
        parts = {side: phases.axial(mask) for side, mask in breasts_by_side(breast, phases.grid, midline).items()}
        lesions = measure_lesions(lesions, phases, parts, moved=motions[0])
        tissue = measure_glands(glands, phases, parts)
    return MriFindings(
        name=found.name,
        sources=tuple(found.all),
        skipped=tuple(found.skipped),
        not_outlined=tuple(candidate.box for candidate in candidates[most:]),
        phases=phases,
        breast=breast,
        breast_probability=breast_probability,
        midline=midline,
        lesions=tuple(lesions),
        motions=motions,
        left_mm=left_mm,
        glands=glands,
        tissue=tissue,
        doubts=(*found.doubts, *doubts_about(phases, breast), *_doubts_of_parts(breast, midline, tissue)),
        models=networks.models,
    )


def _doubts_of_parts(
    breast: NDArray[Any], midline: float | None, tissue: Mapping[Side | None, GlandMeasures]
) -> list[str]:
    if not breast.any():
        return [NO_BREAST]
    dull = any(one.bpe_mean is not None and one.bpe_mean <= 0 for one in tissue.values())
    return [*([NO_SIDES] if midline is None else []), *([DULL_GLANDS] if dull else [])]


def glands_of(phases: DcePhases, breast: NDArray[Any], lesions: Sequence[StudyLesion]) -> NDArray[np.bool_]:
    """Returns the fibroglandular tissue of a study on its own grid, without its lesions.

    Args:
        phases: the study; contrast would make vessels look like gland, so the phase before it is looked at.
        breast: the breasts on its own grid.
        lesions: with outlines.
    """
    glands = phases.restore(outline_glands(phases.arrays[0], phases.axial(breast), phases.spacing))
    for lesion in lesions:
        glands &= ~lesion.mask
    return glands


def measure_lesions(
    lesions: Sequence[StudyLesion],
    phases: DcePhases,
    breasts: Mapping[Side | None, NDArray[Any]],
    *,
    moved: Motion | None = None,
) -> list[StudyLesion]:
    """Returns lesions with what is measured of them.

    They are measured in the axial view, in which the phases lie in memory, each in the box around it.

    Args:
        lesions: with outlines.
        phases: the study.
        breasts: masks of the axial view by side.
        moved: how the phase before contrast lay, where that is known.
    """
    if not lesions:
        return []
    breast = np.logical_or.reduce(list(breasts.values()))
    air, wall = air_around(breast, phases.arrays[0]), ChestWall.behind(breast, phases.spacing)
    tips = nipples(breasts, wall, phases.spacing)
    of_zero = counts_from_zero(phases)
    measured = []
    for lesion in lesions:
        mask, window = phases.axial(lesion.mask), lesion.box.on(phases.grid.axial).window
        nipple = tips.get(lesion.side) if lesion.side else None
        values = {
            **shape_features(mask[window], spacing=phases.spacing),
            **place_features(mask, air, wall, nipple, spacing=phases.spacing),
            **kinetic_features(mask[window], [phase[window] for phase in phases.arrays], shares=of_zero),
            **motion_features(mask, moved, spacing=phases.spacing),
        }
        measurements = tuple(Measurement(name, value, UNITS[name]) for name, value in values.items())
        if nipple is not None and lesion.side is not None:
            middle = np.array([part.mean() for part in np.nonzero(mask)]) * phases.spacing
            quadrant, clock = quadrant_and_clock(middle, nipple, lesion.side, phases.grid.axial)
            lesion = replace(lesion, quadrant=quadrant, clock=clock)
        measured.append(replace(lesion, measurements=measurements))
    return measured


def measure_glands(
    glands: NDArray[Any], phases: DcePhases, breasts: Mapping[Side | None, NDArray[Any]]
) -> dict[Side | None, GlandMeasures]:
    """Returns what is measured of each breast and its fibroglandular tissue.

    Args:
        glands: on the study's own grid.
        phases: the study.
        breasts: masks of the axial view by side.
    """
    axial, of_zero = phases.axial(glands), counts_from_zero(phases)
    before, after = phases.arrays[:2]
    return {
        side: gland_measures(mask, axial & mask, before, after, spacing=phases.spacing, shares=of_zero)
        for side, mask in breasts.items()
    }


def _keeps_probabilities(formats: str | None) -> bool:
    return any(writer.of_probabilities for writer in chosen_writers(MriFindings, formats))


def _say_motion(findings: MriFindings) -> None:
    reference = findings.sources[REFERENCE]
    for source, motion in zip(findings.sources, findings.motions, strict=True):
        if motion is not None and source is not reference:
            what = "taken out" if motion.mean_mm > findings.left_mm else "left as it is"
            names = f"{_name(source)} against {_name(reference)}"
            tqdm.write(f"Motion of {names}: {motion.mean_mm:.1f} mm in the breasts, {what}.", file=sys.stderr)


def _name(source: Path | Series) -> str:
    return source.name if isinstance(source, Path) else source.description


def _say(doubts: Sequence[str]) -> None:
    for doubt in doubts:
        tqdm.write(f"Doubtful: {doubt}", file=sys.stderr)


def _model(role: str, facts: Mapping[str, Any]) -> Model:
    limits = {"threshold": float(facts["threshold"])} if "threshold" in facts else {}
    return Model(role, str(facts["architecture"]), str(facts["sha256"]), limits)
