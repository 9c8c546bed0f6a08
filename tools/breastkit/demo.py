"""The demonstration: phantom studies, what the bundles make of them, and the annotation server over them."""

from __future__ import annotations

import csv
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from breastkit.atomic import atomic_folder, atomic_path, make_folder, write_json
from breastkit.bundle import Bundle
from breastkit.errors import BreastkitError
from breastkit.images import read_gray, read_mask, read_volume, stem, write_png
from breastkit.logs import get_logger
from breastkit.pictures import LESION, PREDICTION, TRUTH, grid, outline
from breastkit.pipelines import BREASTS, LESIONS, ULTRASOUND
from breastkit.places import shipped
from breastkit.weights import read_model_json

TISSUE_BUNDLE, OUTLINER_BUNDLE, CLASSIFIER_BUNDLE = BREASTS, LESIONS, ULTRASOUND
DETECTOR_BUNDLE = Bundle(OUTLINER_BUNDLE).used("detector").name
ULTRASOUND_BUNDLE = Bundle(CLASSIFIER_BUNDLE).used("segmenter").name
MRI_STUDY = "case_001"
_RECORD = ".made_with.json"
_TRACKED = "mlruns.db"
_SLICES = 6
_log = get_logger(__name__)


def run_demo(out: str = "work/demo", *, seed: int = 1, serve: bool | None = None, port: int = 8000) -> Path:
    """Makes phantom studies, runs the bundles on them, shows the results on a page, and serves all to annotate.

    What an earlier run made with the same settings is kept, so a second run takes seconds.

    Args:
        out: the folder to write.
        seed: another seed gives other phantoms.
        serve: keep the annotation server up until Ctrl-C, by default where there is a terminal; otherwise it is
            started, its pages are checked, and it is stopped.
        port: the server is on 127.0.0.1 with this port.

    Returns:
        The page.

    Raises:
        BreastkitError: if the folder cannot be written, a bundle or the server does not run, or the port is taken.
    """
    folder = make_folder(out)
    mri = _made_once(folder / "mri", {"seed": seed}, partial(_make_mri, seed=seed))
    ultrasound = _made_once(folder / "ultrasound", {"seed": seed}, partial(_make_ultrasound, seed=seed))
    pictures = _made_once(folder / "pictures", {"seed": seed}, partial(_copy_pictures, ultrasound=ultrasound))
    results = {
        "tissue": _run_where_weights_ship(folder / "tissue", TISSUE_BUNDLE, mri / "inference" / "scans", seed),
        "lesions": _run_where_weights_ship(folder / "lesions", ULTRASOUND_BUNDLE, pictures, seed),
        "diagnosis": _diagnose(folder / "diagnosis", pictures, seed),
    }
    studies = _made_once(folder / "studies", {"seed": seed}, partial(_make_studies, seed=seed))
    results["mri_lesions"] = _find_mri_lesions(folder / "mri_lesions", studies / "mri", seed)
    cohort = _made_once(folder / "cohort", {"seed": seed}, partial(_make_cohort, seed=seed))
    _made_once(folder / "correlation", {"seed": seed}, partial(_correlate, cohort=cohort))
    _track_evaluation(folder / "tracked", ultrasound, seed)
    page = _write_page(folder, mri, ultrasound, results, seed)
    _log.info("The page: %s", page.resolve().as_uri())
    if serve if serve is not None else sys.stdin.isatty() and sys.stdout.isatty():
        from breastkit.server.serve import serve_studies

        _log.info("Starting the annotation server; Ctrl-C ends it.")
        serve_studies(port=port, **_server_options(folder))
    else:
        check_pages(folder)
    return page


def check_pages(folder: str | Path) -> None:
    """Starts the annotation server over a demonstration, makes sure that its pages answer, and stops it.

    Args:
        folder: of the demonstration.

    Raises:
        BreastkitError: if the server does not start or a page does not answer.
    """
    from breastkit.server.viewer.ohif import NO_VIEWER, has_viewer

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options, pages = _server_options(Path(folder)), list(_PAGES)
    if has_viewer():
        pages.insert(0, "/ohif/")
    else:
        _log.warning(NO_VIEWER)
    words = [f"--{name}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "breastkit.cli", "serve", f"--port={port}", *words]
    with tempfile.TemporaryFile("w+") as messages:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=messages, text=True)
        answers = cast(IO[str], process.stdout)
        try:
            if not any(line.startswith("Ready: ") for line in answers):
                messages.seek(0)
                last = (messages.read().strip() or "it said nothing").splitlines()[-1]
                raise BreastkitError(f"The annotation server did not start: {last}")
            for page in pages:
                _open_page(f"http://127.0.0.1:{port}{page}")
            beside = set(_BESIDE.findall(_open_page(f"http://127.0.0.1:{port}/")))
            if len(beside) != len({"mlflow", "ultrasound"} & set(options)):
                raise BreastkitError(f"The start page of {folder} does not lead to all pages beside it.")
            for address in beside:
                _open_page(address)
        finally:
            process.send_signal(signal.SIGINT)
            # Longer than it takes to stop both servers beside it where they have to be killed.
            process.wait(300)
            answers.close()
    _log.info(
        "The annotation server answers: %s.", ", ".join([*pages, *(sorted({"mlflow", "ultrasound"} & set(options)))])
    )


_BESIDE = re.compile(r'href="(http://127\.0\.0\.1:\d+/)(?:#[^"]*)?"')
_PAGES = ("/", "/info/", "/dicom-web/studies", "/results/")


def _open_page(address: str) -> str:
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:
            text: str = answer.read().decode(errors="replace")
            return text
    except OSError as error:
        raise BreastkitError(f"{address} does not answer ({error}); look at the annotation server's log.") from error


def _server_options(folder: Path) -> dict[str, Any]:
    """Returns what the annotation server is started with, over a demonstration."""
    options: dict[str, Any] = {
        "studies": str(folder / "studies"),
        "labels": str(folder / "labels"),
        "models": str(folder / "models"),
        "pages": str(folder),
    }
    if (folder / "tracked" / _TRACKED).is_file():
        options["mlflow"] = str(folder / "tracked" / _TRACKED)
    if (folder / "diagnosis").is_dir():
        options["ultrasound"] = True
    return options


def _make_studies(folder: Path, *, seed: int) -> None:
    from breastkit.phantoms.mri import write_mri_phantoms
    from breastkit.phantoms.us.pictures import write_us_phantoms

    # Smaller than real ones, so that a model's first answer takes seconds on any computer.
    write_mri_phantoms(str(folder / "mri"), cases=2, seed=seed, dicom=True, size=128)
    write_us_phantoms(folder / "us", cases=3, seed=seed, dicom=True)


def _made_once(folder: Path, settings: dict[str, Any], make: Callable[[Path], None]) -> Path:
    """Makes a folder in one piece, unless it stands already and was made with the same settings."""
    record = folder / _RECORD
    if record.is_file():
        if json.loads(record.read_text(encoding="utf-8")) == settings:
            _log.info("%s is there already.", folder)
            return folder
        # The record says that the folder is ours to replace.
        shutil.rmtree(folder)
    with atomic_folder(folder) as temporary:
        make(temporary)
        write_json(temporary / _RECORD, settings)
    return folder


def _make_mri(folder: Path, *, seed: int) -> None:
    from breastkit.phantoms.mri import write_mri_phantoms

    write_mri_phantoms(str(folder), cases=1, seed=seed)


def _make_ultrasound(folder: Path, *, seed: int) -> None:
    from breastkit.phantoms.us.pictures import write_us_phantoms

    write_us_phantoms(folder, cases=6, seed=seed)


def _make_cohort(folder: Path, *, seed: int, cases: int = 40) -> None:
    """Makes small dynamic studies with a clinical table, and measures their true lesions: features.csv."""
    from breastkit.phantoms.mri import write_mri_phantoms

    write_mri_phantoms(str(folder), cases=cases, seed=seed, size=96, layout="mamamia")
    rows = []
    for path in sorted((folder / "segmentations" / "expert").glob("*.nii.gz")):
        lesions = read_volume(path, mask=True).array > 0
        if lesions.any():
            after = read_volume(folder / "images" / stem(path).upper() / f"{stem(path)}_0001.nii.gz").array[lesions]
            rows.append((stem(path), int(lesions.sum()), f"{after.mean():.2f}", f"{after.max():.2f}"))
    with atomic_path(folder / "features.csv") as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("patient_id", "volume_voxels", "mean_intensity", "max_intensity"), *rows])


def _correlate(folder: Path, *, cohort: Path) -> None:
    from breastkit.report.clinical import correlate_clinical

    tables = (cohort / "features.csv", cohort / "clinical_and_imaging_info.xlsx")
    correlate_clinical(*map(str, tables), out=str(folder))


def _copy_pictures(folder: Path, *, ultrasound: Path) -> None:
    """Copies the pictures without their masks into one folder, as inference takes them."""
    for path in _pictures(ultrasound):
        shutil.copy(path, folder / path.name)


def _pictures(ultrasound: Path) -> list[Path]:
    return [path for path in sorted(ultrasound.glob("*/*.png")) if "_mask" not in path.stem]


def _run_where_weights_ship(folder: Path, name: str, inputs: Path, seed: int) -> Path | None:
    """Runs a bundle's inference, as its documentation says; None where it has no weights."""
    weights = _weights(name)
    if not weights:
        _log.info("%s has no weights here, so it is not run.", name)
        return None
    return _made_once(
        folder, {"seed": seed, "weights": weights}, partial(_run_bundle, bundle=Bundle(name), inputs=inputs)
    )


def _diagnose(folder: Path, pictures: Path, seed: int) -> Path | None:
    """Runs the ultrasound chain, `breastkit run us`; None where its classifier has no weights."""
    weights = {name: _weights(name) for name in (ULTRASOUND_BUNDLE, CLASSIFIER_BUNDLE)}
    if not all(weights.values()):
        _log.info("%s has no weights here, so nothing is diagnosed.", CLASSIFIER_BUNDLE)
        return None
    return _made_once(folder, {"seed": seed, **weights}, partial(_run_chain, pictures=pictures))


def _find_mri_lesions(folder: Path, studies: Path, seed: int) -> Path | None:
    """Runs the chain of dynamic MRI, `breastkit run mri`, on the first study; None where a bundle has no weights."""
    weights = {name: _weights(name) for name in (TISSUE_BUNDLE, DETECTOR_BUNDLE, OUTLINER_BUNDLE)}
    missing = [name for name, found in weights.items() if not found]
    if missing:
        _log.info("%s has no weights here, so no lesions are sought in MRI.", missing[0])
        return None
    return _made_once(folder, {"seed": seed, **weights}, partial(_run_mri_chain, study=studies / MRI_STUDY))


def _track_evaluation(folder: Path, ultrasound: Path, seed: int) -> None:
    """Evaluates the ultrasound segmenter on the phantoms, tracked in MLflow, whose interface then has a run to show."""
    from breastkit.datasets.busi import prepare_busi

    settings, record = {"seed": seed, "weights": _weights(ULTRASOUND_BUNDLE)}, folder / _RECORD
    if not settings["weights"] or (record.is_file() and json.loads(record.read_text(encoding="utf-8")) == settings):
        return
    # Tracked files are known by their whole path, so that the folder is not made under another name first.
    if record.is_file():
        shutil.rmtree(folder)
    elif folder.is_dir() and any(folder.iterdir()):
        raise BreastkitError(f"{folder} is not empty and not of a demonstration; choose another folder with --out.")
    make_folder(folder)
    # What is broken off is ours to replace too.
    write_json(record, {})
    prepare_busi(ultrasound, folder / "cases", test_only=True)
    _log.info("Evaluating %s on the phantoms, tracked in MLflow.", ULTRASOUND_BUNDLE)
    bundle = Bundle(ULTRASOUND_BUNDLE)
    bundle.run(
        "inference.json",
        "evaluate.json",
        dataset_dir=str(folder / "cases"),
        output_dir=str(folder / "run"),
        tracking=str(shipped("mlflow") / "tracking_evaluate.json"),
        run_name="phantoms",
        tracking_uri=f"sqlite:///{(folder / _TRACKED).resolve()}",
    )
    write_json(record, settings)


def _weights(name: str) -> str | None:
    """Returns the hash of the weights a bundle runs with; None where it has none."""
    path = Bundle(name).weights_in_use
    return str(read_model_json(path)["sha256"]) if path.is_file() else None


def _run_chain(folder: Path, *, pictures: Path) -> None:
    from breastkit.pipelines.ultrasound import run_ultrasound

    _log.info("Running the ultrasound chain, breastkit run us.")
    run_ultrasound(str(pictures), out=str(folder))


def _run_mri_chain(folder: Path, *, study: Path) -> None:
    from breastkit.pipelines.mri import run_mri

    _log.info("Running the chain of dynamic MRI, breastkit run mri.")
    run_mri(str(study), out=str(folder))


def _run_bundle(folder: Path, *, bundle: Bundle, inputs: Path) -> None:
    _log.info("Running %s.", bundle.name)
    bundle.run("inference.json", dataset_dir=str(inputs), output_dir=str(folder))


def _write_page(folder: Path, mri: Path, ultrasound: Path, results: dict[str, Path | None], seed: int) -> Path:
    from breastkit.report.page import picture, render_page

    slices, facts = _mri_slices(mri, results["tissue"])
    shown = [image for image, _ in slices]
    write_png(folder / "mri.png", grid([shown[:3], shown[3:]], tile=256))
    images, dice = _ultrasound_images(ultrasound, results["lesions"])
    write_png(folder / "ultrasound.png", grid([[image for image, _ in images]], tile=256))
    classes = _classes(results["diagnosis"])
    return render_page(
        "demo.html",
        folder / "index.html",
        seed=seed,
        found=facts if results["tissue"] is not None else None,
        lesions=facts["lesions"],
        bundles={"tissue": TISSUE_BUNDLE, "ultrasound": ULTRASOUND_BUNDLE, "classifier": CLASSIFIER_BUNDLE},
        why_not=f"{TISSUE_BUNDLE} has no weights here.",
        mri=[{"picture": picture(image), "name": f"axial slice {k + 1}"} for image, k in slices],
        mri_lesions=_mri_lesions(results["mri_lesions"], folder / "studies" / "mri"),
        ultrasound=[{"picture": picture(image), "name": name + classes.get(name, "")} for image, name in images],
        lesion_dice=dice,
        diagnosed=bool(classes),
        files=[*_FILES, *((name, text) for name, text in _WRITTEN if results[name] is not None)],
        commands=_commands(seed),
    )


_FILES = (
    ("mri", "the phantom studies: scans in inference/scans and train/scans, masks, truth"),
    ("ultrasound", "the phantom images with their masks, in the layout of BUSI"),
    ("pictures", "the same images without masks, in one folder"),
    ("cohort", "40 small dynamic studies in the layout of MAMA-MIA, with clinical table and features.csv"),
    ("correlation", "what of the clinical table goes with these features: index.html, correlations.csv, heatmaps"),
    ("tracked", "an evaluation of the ultrasound segmenter on them, tracked in MLflow"),
)
_WRITTEN = (
    ("tissue", "what the tissue bundle wrote: masks, pictures, features.csv"),
    ("mri_lesions", "what the chain of dynamic MRI wrote: breast and lesion masks, lesions.csv, report.html"),
    ("lesions", "what the ultrasound segmenter wrote: masks, overlays, predictions.csv"),
    ("diagnosis", "what the ultrasound chain wrote: report.html, results.csv, findings.json, pictures of each"),
)


def _commands(seed: int) -> list[str]:
    def run(bundle: str, inputs: str, out: str) -> str:
        place = Bundle(bundle).folder
        # As it is typed in the checkout.
        place = place.relative_to(Path.cwd()) if place.is_relative_to(Path.cwd()) else place
        config = f"{place}/configs/inference.json"
        words = f"--bundle_root {place} --dataset_dir {inputs} --output_dir {out}"
        return f"python -m monai.bundle run --config_file {config} {words}"

    return [
        f"breastkit data phantom mri work/phantom --cases 1 --seed {seed}",
        f"breastkit data phantom us work/phantom_us --cases 6 --seed {seed}",
        f"breastkit data phantom mri work/dicom --cases 2 --dicom --seed {seed}",
        f"breastkit run mri work/dicom/{MRI_STUDY} --out work/mri",
        run(TISSUE_BUNDLE, "work/phantom/inference/scans", "work/out"),
        run(ULTRASOUND_BUNDLE, "work/phantom_us/malignant", "work/out_us"),
        "breastkit run us work/phantom_us/malignant --out work/us",
    ]


def _mri_slices(mri: Path, tissue: Path | None) -> tuple[list[tuple[NDArray[Any], int]], dict[str, Any]]:
    """Returns slices with the true and, where there is one, the found outline, and figures about the study."""
    import cc3d

    from breastkit.inference.axial_view import AxialView

    path = next((mri / "inference" / "scans").glob("*.nii.gz"))
    scan = read_volume(path)
    # Lesions are numbered in their file, so it is read as a volume; a study without any is flat.
    masks = {
        "truth": read_volume(mri / "inference" / "masks" / path.name, mask=True).array,
        "lesions": _lesions(mri / "truth" / "lesions" / path.name, scan.array.shape),
    }
    facts: dict[str, Any] = {"lesions": int(cc3d.connected_components(masks["lesions"]).max())}
    outlined, filled = [("truth", TRUTH)], [("lesions", LESION)]
    if tissue is not None:
        for name in ("breast", "candidate"):
            masks[name] = read_volume(tissue / f"{stem(path)}_{name}.nii.gz", mask=True).array
        outlined, filled = [("truth", TRUTH), ("breast", PREDICTION)], [("candidate", LESION)]
        facts |= _figures(masks, float(np.prod(scan.spacing)))
    view = AxialView(scan.array, scan.affine, masks)
    chosen = sorted({*view.spread("truth", _SLICES - 1), view.largest(filled[0][0])})
    return [(view.picture(k, outlined, filled), k) for k in chosen], facts


def _lesions(path: Path, shape: tuple[int, ...]) -> NDArray[Any]:
    import nibabel

    return (
        (np.asarray(nibabel.Nifti1Image.from_filename(path).dataobj) > 0).astype(np.uint8)
        if path.is_file()
        else np.zeros(shape, np.uint8)
    )


def _figures(masks: dict[str, NDArray[Any]], voxel_mm3: float) -> dict[str, Any]:
    from breastkit.metrics.segmentation import dice

    return {
        "dice": dice(masks["breast"], masks["truth"]),
        "breast_ml": np.count_nonzero(masks["breast"]) * voxel_mm3 / 1000,
        "truth_ml": np.count_nonzero(masks["truth"]) * voxel_mm3 / 1000,
        "candidate_ml": np.count_nonzero(masks["candidate"]) * voxel_mm3 / 1000,
        "hit": bool((masks["candidate"] & masks["lesions"]).any()),
    }


def _mri_lesions(found: Path | None, studies: Path) -> dict[str, Any] | None:
    """Returns what the chain of dynamic MRI found, as the page shows it, and which of it is true."""
    import nibabel
    from PIL import Image as Picture

    from breastkit.report.page import picture

    if found is None:
        return None
    with (found / "lesions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    files = (found / "lesions.nii.gz", studies / "truth" / "lesions" / f"{MRI_STUDY}.nii.gz")
    labels, truth = (np.asarray(nibabel.Nifti1Image.from_filename(path).dataobj) for path in files)
    for row in rows:
        row["true"] = bool(truth[labels == int(row["lesion"])].any())
    return {
        "rows": rows,
        "picture": picture(np.asarray(Picture.open(found / "overlay.png").convert("RGB"))),
        "planted": len(np.unique(truth)) - 1,
    }


def _classes(diagnosis: Path | None) -> dict[str, str]:
    """Returns what the chain said of each picture, as words behind its name."""
    if diagnosis is None:
        return {}
    with (diagnosis / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        stem(row["file"]): f": read as {row['class']}, malignant with {float(row['p_malignant']):.0%}" for row in rows
    }


def _ultrasound_images(folder: Path, found: Path | None) -> tuple[list[tuple[NDArray[Any], str]], float | None]:
    """Returns every image with its true lesions and, where there are, those found, its name; and their mean Dice."""
    from breastkit.metrics.segmentation import dice

    shown, reached = [], []
    for path in _pictures(folder):
        image = read_gray(path)
        mask = np.zeros(image.shape, np.uint8)
        for part in path.parent.glob(f"{path.stem}_mask*.png"):
            mask |= read_mask(part)
        drawn = outline(image, mask, TRUTH, width=2)
        if found is not None:
            prediction = read_mask(found / f"{path.stem}_mask.png")
            drawn = outline(drawn, prediction, PREDICTION, width=2)
            reached.append(dice(prediction, mask))
        shown.append((drawn, path.stem))
    return shown, float(np.mean(reached)) if reached else None
