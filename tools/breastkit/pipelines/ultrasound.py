"""Breast ultrasound pictures through the whole chain: outline, class, and what mattered for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from breastkit.atomic import recorded_writes, refuse_unwritable
from breastkit.bundle import Bundle
from breastkit.dicomweb.archive import checked_address
from breastkit.errors import UsageError
from breastkit.findings import findings_json
from breastkit.findings.run_record import RunRecord
from breastkit.findings.study_findings import Lesion, Measurement, Model, PictureFindings
from breastkit.findings.ultrasound_png import KINDS
from breastkit.findings.writers import Outputs, chosen_writers, with_json
from breastkit.images import PICTURE_SUFFIXES, stem
from breastkit.inference.calibration import Calibration, read_calibration
from breastkit.inference.picture_quality import REMARKS, remarks_on, remarks_on_outline
from breastkit.inference.readable_cases import ReadableCases
from breastkit.inference.results import refuse_folder_of_pictures, say_left_aside, write_problems
from breastkit.inference.ultrasound import (
    LesionClassifier,
    Reading,
    UltrasoundReader,
    weights_that_say_normal,
)
from breastkit.inference.ultrasound_inputs import UltrasoundPicture, find_ultrasound, read_ultrasound
from breastkit.pipelines import ULTRASOUND
from breastkit.pipelines.cohort import Engine, StudyPipeline, refuse_for_cohorts, refuse_options_of_cohorts, run_cohort
from breastkit.pipelines.cohort_studies import is_dicom_or_named_so
from breastkit.pipelines.exchange import chosen_study, push_objects, study_at_hand
from breastkit.pipelines.ultrasound_cases import cases_of_pictures

NO_LESION = "No lesion was outlined, so the class is that of {variant}, the variant that can say normal."
UNFAMILIAR = "It is unlike all pictures the networks have learnt from, so what they say of it is not to be relied on."
_LIMITS, _REACHED = ("suspicious_from", "abstain_above"), ("recall", "specificity")
# Options of a study that the networks are opened without.
_OF_ONE_STUDY = ("formats", "by", "cases", "push")
_ENDS = tuple(f"_{kind}" for kind in KINDS)


def run_ultrasound(
    source: str | None = None,
    *,
    out: str,
    explanation: bool = True,
    segmenter: str | None = None,
    classifier: str | None = None,
    normal_classifier: str | None = None,
    calibration: str | None = None,
    backend: str = "auto",
    precision: str = "f32",
    formats: str | None = None,
    json: bool = False,
    by: str | None = None,
    cohort: bool = False,
    cases: str | None = None,
    workers: int | None = None,
    shard: str | None = None,
    engine: Engine = "processes",
    address: str | None = None,
    pull: str | None = None,
    study: str | None = None,
    push: str | None = None,
    reader: UltrasoundReader | None = None,
) -> Path | str:
    """Outlines the lesion in breast ultrasound pictures, tells its class, and writes a report.

    Reads PNG, JPEG, TIFF and BMP, and ultrasound DICOM, of which every frame is a picture of its own. For a picture
    x.png: x_mask.png, x_overlay.png and x_explanation.png; for all of them results.csv,
    report.html, report.pdf, findings.json (all of it for programs) and run.json (what was read, left aside and done).
    Of an ultrasound object x.dcm also dicom/x_segmentation.dcm (SEG), dicom/x_report.dcm (SR) and
    dicom/x_report_pdf.dcm (encapsulated PDF).

    Args:
        source: a picture, or a folder with pictures directly in it, or else in its sub-folders.
        out: the folder to write.
        explanation: also draw what mattered for the class.
        segmenter: weights for the outline; those in use by default, here and below.
        classifier: weights that tell benign from malignant.
        normal_classifier: weights that can say normal; those the bundle ships by default.
        calibration: what 'breastkit calibrate us' fitted to pictures of your own, with these weights.
        backend: torch, openvino or auto.
        precision: f32, bf16 or auto.
        formats: write these outputs alone, separated by commas, for example csv,json; by default all but sc (key
            pictures as DICOM) and probabilities (how sure the network is of every pixel, as fractional SEG). For
            seg, sr, sc and probabilities of PNG and the like, the picture itself is written as DICOM too.
        json: print findings.json.
        by: case answers once a case too, from all its views, with how much they disagree (cases.csv).
        cohort: every sub-folder is a study; writes a folder for each, and summary.csv, failures.csv and index.html.
        cases: run on the studies that this table (CSV) names in its column path, or with --pull uid. With --by case,
            what says which pictures are of one case: a case list, or a CSV table with the columns file and case; by
            default the case list in the folder of the pictures or above it.
        workers: so many studies of a cohort at a time; as many as cores and memory allow by default.
        shard: this part of a cohort alone, for example 1/4.
        engine: run a cohort by processes of this machine or on a Ray cluster.
        address: of the cluster; a new one on this machine by default.
        pull: fetch the study from the archive (PACS) with this DICOMweb address.
        study: StudyInstanceUID of that study.
        push: store the DICOM objects that are written in the archive with this DICOMweb address.
        reader: the networks, where they are in memory already.

    Returns:
        The report's page, or what of the asked for comes next to it: the table, the folder; the page of a cohort; the
        text that was asked for with json.

    Raises:
        SomeFailedError: if some studies of a cohort failed; the others are done.
        BreastkitError: if weights are missing, nothing can be written, or, after all others are done, a picture could
            not be read.
    """
    writers = chosen_writers(PictureFindings, with_json(formats) if json else formats)
    push = checked_address(push) if push else None
    if by not in (None, "case"):
        raise UsageError(f"--by takes case alone, not {by!r}.")
    networks = {"segmenter": segmenter, "classifier": classifier, "normal_classifier": normal_classifier}
    networks |= {"calibration": calibration, "backend": backend, "precision": precision}
    options: dict[str, Any] = {
        **networks,
        "explanation": explanation,
        "formats": formats,
        "by": by,
        "cases": cases if by else None,
        "push": push,
    }
    if cohort or (cases is not None and by is None):
        refuse_for_cohorts(json=json or None)
        studies = UltrasoundStudies.of(**options)
        return run_cohort(
            studies,
            source,
            out=out,
            cases=None if by else cases,
            pull=pull,
            workers=workers,
            shard=shard,
            engine=engine,
            address=address,
        )
    if study is not None and (pull is None or source is not None):
        raise UsageError("--study names one study of the archive that --pull names; give both, and no folder.")
    source = chosen_study(study or source, pull)
    source = refuse_options_of_cohorts(source, workers=workers, shard=shard, engine=engine, address=address)
    refuse_unwritable(out)
    record = RunRecord("run us", options)
    with study_at_hand(source, step=record.step) as at_hand:
        case_of = cases_of_pictures(at_hand, cases) if by else {}
        with record.step("find pictures"):
            inputs = find_ultrasound(at_hand, outputs=_ENDS)
            refuse_folder_of_pictures(Path(out), inputs, option="--out")
            paths = list(dict.fromkeys(Path(item["image"]) for item in inputs.items))
            record.read(paths, inputs.skipped)
        with record.step("open networks"):
            reader = reader or opened_reader(explanation=explanation, **networks)
        say_left_aside(inputs.skipped)
        pictures = ReadableCases(inputs.items, lambda item: {**item, "picture": read_ultrasound(item)}, unit="picture")
        doubts: list[str] = []
        with recorded_writes() as written:
            outputs = Outputs(out, writers, make_dicom=formats is not None)
            for item in pictures:
                place = {"name": item["name"], "file": item["file"], "source": Path(item["image"])}
                place |= {"frame": item.get("frame"), "case": case_of.get(stem(item["image"])) if by else None}
                with record.step("examine pictures"):
                    findings = examine(item["picture"], reader, explain=explanation, **place)
                doubts += [f"{findings.file}: {doubt}" for doubt in findings.doubts]
                with record.step("write"):
                    outputs.write(findings)
            problems = [sentence for _, sentence in pictures.failures]
            with record.step("write"):
                write_problems(outputs.folder, inputs, pictures)
                summary = outputs.finish(problems)
    receipt = None
    if push:
        with record.step("push"):
            receipt = push_objects(outputs.folder, push)
    pushed = receipt.as_json() if receipt else None
    record.write(
        outputs.folder, models=models_of(reader), doubts=doubts, written=written, problems=problems, pushed=pushed
    )
    pictures.raise_failures()
    if receipt:
        receipt.raise_problem()
    return (outputs.folder / findings_json.FILE).read_text(encoding="utf-8").rstrip() if json else summary


def opened_reader(*, explanation: bool, calibration: str | None = None, **networks: Any) -> UltrasoundReader:
    """Opens the networks and runs them once: the times told of pictures are then theirs alone.

    Args:
        explanation: whether maps will be drawn.
        calibration: a file that says by which limits they decide.
        networks: see `UltrasoundReader.of_bundle`.

    Raises:
        BreastkitError: if weights are missing or damaged.
    """
    limits = read_calibration(calibration) if calibration else None
    reader = UltrasoundReader.of_bundle(Bundle(ULTRASOUND), calibration=limits, **networks)
    reader.warm_up(explain=explanation)
    return reader


@dataclass(frozen=True)
class UltrasoundStudies(StudyPipeline):
    """`run_ultrasound` on the studies of a cohort."""

    kind: ClassVar[str] = "us"
    memory_gb: ClassVar[float] = 2.0
    paths: ClassVar[tuple[str, ...]] = ("segmenter", "classifier", "normal_classifier", "calibration", "cases")

    def weights(self) -> Mapping[str, Path]:
        """Returns the weights it will run with, by role."""
        given, bundle = dict(self.options), Bundle(ULTRASOUND)
        return {
            "segmenter": bundle.used("segmenter").chosen_weights(given["segmenter"]),
            "classifier": bundle.chosen_weights(given["classifier"]),
            "normal_classifier": bundle.chosen_weights(given["normal_classifier"] or weights_that_say_normal(bundle)),
        }

    def open(self) -> UltrasoundReader:
        """Opens the networks."""
        return opened_reader(**{name: value for name, value in self.options if name not in _OF_ONE_STUDY})

    def holds_study(self, folder: Path) -> bool:
        """Tells whether a folder directly holds pictures or DICOM."""
        files = (path for path in folder.iterdir() if path.is_file())
        return any(path.name.lower().endswith(PICTURE_SUFFIXES) or is_dicom_or_named_so(path) for path in files)

    def run(self, study: str, out: Path, networks: UltrasoundReader) -> None:
        """Runs on one study."""
        run_ultrasound(study, out=str(out), reader=networks, **dict(self.options))


def examine(
    picture: UltrasoundPicture,
    reader: UltrasoundReader,
    *,
    name: str,
    file: str,
    source: Path,
    frame: int | None = None,
    case: str | None = None,
    explain: bool = True,
) -> PictureFindings:
    """Returns what the networks find in a picture.

    Args:
        picture: the picture.
        reader: the networks.
        name: what its files begin with.
        file: what tables call it.
        source: the file it was read from.
        frame: of a clip, from 0.
        case: the lesion or patient it is a view of.
        explain: also make the map of what mattered for the class.
    """
    reading = reader.read(picture.tissue, explain=explain)
    quality = remarks_on(picture) + remarks_on_outline(reading.mask)
    return PictureFindings(
        name=name,
        sources=(source,),
        file=file,
        frame=frame,
        case=case,
        picture=picture,
        reading=reading,
        lesions=_lesions(picture, reading),
        quality=quality,
        doubts=(
            *(() if reading.found else (NO_LESION.format(variant=reading.decided_by),)),
            *((UNFAMILIAR,) if reading.unfamiliar else ()),
            *(REMARKS[code] for code in quality),
        ),
        models=models_of(reader),
    )


def _lesions(picture: UltrasoundPicture, reading: Reading) -> tuple[Lesion, ...]:
    if not reading.found:
        return ()
    area = Measurement("area_px", reading.measures["area_px"], "{pixels}")
    score = float(reading.measures["confidence"] or 0)
    return (Lesion(score=score, mask=picture.on_whole(reading.mask), measurements=(area,)),)


def models_of(reader: UltrasoundReader) -> tuple[Model, ...]:
    """Returns which weights read, and by which limits."""
    models = [
        _classifier("classifier", reader.classifier),
        _classifier("normal_classifier", reader.normal_classifier),
    ]
    if reader.segmenter is not None:
        facts = reader.segmenter.bundle.facts
        models.insert(0, Model("segmenter", facts["architecture"], facts["sha256"]))
    if reader.calibration is not None:
        models.append(_calibration(reader.calibration))
    return tuple(models)


def _calibration(calibration: Calibration) -> Model:
    limits = {name: getattr(calibration, name) for name in ("temperature", *_LIMITS, *_REACHED)}
    return Model("calibration", "temperature", calibration.sha256, limits)


def _classifier(role: str, classifier: LesionClassifier) -> Model:
    limits = dict(zip(_LIMITS, (classifier.threshold, classifier.abstain_above), strict=True))
    limits |= {name: classifier.operating_point[name] for name in _REACHED if name in classifier.operating_point}
    return Model(role, classifier.architecture, classifier.bundle.facts["sha256"], limits)
