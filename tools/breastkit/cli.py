"""``breastkit …``: every verb is a function of the package; here they get their names, and errors become sentences."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from breastkit.datasets.registry import data_sets
from breastkit.errors import (
    EXIT_FAILED,
    EXIT_OK,
    EXIT_SOME_FAILED,
    EXIT_USAGE,
    BreastkitError,
    SomeFailedError,
    UsageError,
)
from breastkit.usage import HELP_WORDS, Group, Verb, checked_words, find, group_help, parameters_of, verb_help

PROGRAM = "breastkit"
EXIT_INTERRUPTED = 130

COMMANDS = Group(
    "breast MRI and ultrasound analysis as MONAI bundles. For research, not for diagnosis.",
    {
        "demo": Verb(
            "breastkit.demo:run_demo",
            "make phantom studies, run the pipelines on them, serve them to annotate",
            "breastkit demo --no-serve",
        ),
        "data": Group(
            "make, check, prepare and look at data sets.",
            {
                "phantom": Group(
                    "make artificial studies with known truth.",
                    {
                        "mri": Verb(
                            "breastkit.phantoms.mri:write_mri_phantoms",
                            "make breast MRI studies with masks, lesions and a clinical table",
                            "breastkit data phantom mri work/phantom --cases 6 --seed 1",
                        ),
                        "us": Verb(
                            "breastkit.phantoms.us.pictures:write_us_phantoms",
                            "make breast ultrasound images with masks",
                            "breastkit data phantom us work/phantom_us --cases 30",
                        ),
                    },
                ),
                "check": Group(
                    "find what is wrong with a data folder before working with it.",
                    {
                        "tissue": Verb(
                            "breastkit.datasets.tissue:check_tissue",
                            "name everything missing or wrong in a folder of breast tissue scans and masks",
                            "breastkit data check tissue work/phantom",
                        )
                    },
                ),
                "prepare": Group(
                    "turn a data set as downloaded into a case list with a fixed split.",
                    {
                        name: Verb(f"breastkit.datasets.{name}:prepare_{name}", found.summary, found.example)
                        for name, found in data_sets().items()
                    },
                ),
                "join": Verb(
                    "breastkit.datasets.join:join_case_lists",
                    "make one case list of several, to learn from several hospitals",
                    "breastkit data join work/busi work/busbra --out work/us",
                ),
                "crossfit": Verb(
                    "breastkit.inference.crossfit:crossfit",
                    "add lesion masks by segmenters that have not seen the picture, for the classifier",
                    "breastkit data crossfit work/busi --out work/busi_masks",
                ),
                "report": Verb(
                    "breastkit.report.dataset:dataset_report",
                    "show a case list on a page: counts, sizes, duplicates, samples, every problem found",
                    "breastkit data report work/busi",
                ),
                "preview": Verb(
                    "breastkit.report.preview:preview",
                    "picture augmented training samples with their masks",
                    "breastkit data preview work/busi",
                ),
            },
        ),
        "run": Group(
            "run whole pipelines on pictures or scans.",
            {
                "mri": Verb(
                    "breastkit.pipelines.mri:run_mri",
                    "outline breasts and lesions in one dynamic breast MRI study, measure the lesions",
                    "breastkit run mri work/study --out work/mri",
                ),
                "us": Verb(
                    "breastkit.pipelines.ultrasound:run_ultrasound",
                    "outline the lesion in ultrasound pictures, tell its class, write a report",
                    "breastkit run us work/pictures --out work/us",
                ),
            },
        ),
        "cohort": Group(
            "what 'run mri' and 'run us' wrote of many studies.",
            {
                "merge": Verb(
                    "breastkit.pipelines.cohort_merge:merge_cohorts",
                    "bring the parts of a cohort together that were run with --shard",
                    "breastkit cohort merge work/part_1 work/part_2 --out work/cohort",
                ),
            },
        ),
        "clinical": Group(
            "explore clinical tables, and what of them goes with features of images.",
            {
                "explore": Verb(
                    "breastkit.report.clinical:explore_clinical",
                    "show what a clinical table holds: every category, what is missing, what is rare",
                    "breastkit clinical explore work/phantom/clinical.csv --out work/clinical",
                ),
                "boxes": Verb(
                    "breastkit.clinical.boxes:boxes_as_features",
                    "turn the lesion boxes of Duke-Breast-Cancer-MRI into a table of features",
                    "breastkit clinical boxes Annotation_Boxes.xlsx --out work/boxes.csv",
                ),
                "correlate": Verb(
                    "breastkit.report.clinical:correlate_clinical",
                    "tell how features of images go with clinical variables, with honest statistics",
                    "breastkit clinical correlate work/features.csv work/phantom/clinical.csv --out work/correlated",
                ),
                "predict": Verb(
                    "breastkit.report.clinical:predict_clinical",
                    "tell whether features predict a clinical variable better than chance",
                    "breastkit clinical predict work/features.csv work/clinical.csv --target her2 --out work/predicted",
                ),
            },
        ),
        "serve": Verb(
            "breastkit.server.serve:serve_studies",
            "serve studies to OHIF, 3D Slicer and scripts, with the bundles behind (MONAI Label)",
            "breastkit serve --studies work/dicom --port 8000",
        ),
        "labels": Group(
            "what several annotators of a server have outlined.",
            {
                "agreement": Verb(
                    "breastkit.server.labels.agreement:write_agreement",
                    "tell how far annotators agree: Dice and kappa of every two of them, as a page and tables",
                    "breastkit labels agreement work/dicom/labels --out work/agreement",
                ),
                "consensus": Verb(
                    "breastkit.server.labels.readings:make_consensus",
                    "make one label of those of several annotators, by majority or STAPLE",
                    "breastkit labels consensus work/dicom/labels --method staple",
                ),
            },
        ),
        "models": Group(
            "which weights the bundles run with.",
            {
                "list": Verb(
                    "breastkit.models.listing:list_models",
                    "say which weights every bundle has and which are in use",
                    "breastkit models list",
                ),
                "register": Verb(
                    "breastkit.models.registering:register_run",
                    "make what a run has trained a version of its bundle",
                    "breastkit models register first",
                ),
                "promote": Verb(
                    "breastkit.models.promoting:promote_version",
                    "use a version, if it is not worse than what is in use",
                    "breastkit models promote breast_us_lesion_segmentation 1",
                ),
                "rollback": Verb(
                    "breastkit.promotion:rollback",
                    "use the version before the current one again",
                    "breastkit models rollback breast_us_lesion_segmentation",
                ),
                "show": Verb(
                    "breastkit.models.listing:show_model",
                    "say which run, data and code weights come from, what they reach, who promoted them",
                    "breastkit models show breast_us_lesion_segmentation",
                ),
                "verify": Verb(
                    "breastkit.models.listing:verify_models",
                    "check all weights against their hashes and the registry",
                    "breastkit models verify",
                ),
                "card": Verb(
                    "breastkit.models.card:fill_card",
                    "write the figures and the origin of the weights into a bundle's model card",
                    "breastkit models card breast_us_lesion_segmentation",
                ),
            },
        ),
        "users": Group(
            "say who may log in to the annotation server.",
            {
                "set": Verb(
                    "breastkit.server.security.users:set_user",
                    "add a user or change role and password",
                    "breastkit users set work/users.json anna --role annotator",
                ),
            },
        ),
        "page": Verb(
            "breastkit.server.pages.ultrasound_page:serve_ultrasound_page",
            "read ultrasound pictures on a page in the browser",
            "breastkit page --port 7860",
        ),
        "explain": Verb(
            "breastkit.report.explanation_report:explain_cases",
            "show what a classifier of ultrasound looked at, with a sanity check",
            "breastkit explain work/busi_masks --variant fusion --out work/explained",
        ),
        "calibrate": Group(
            "fit what a pipeline says to cases of one's own.",
            {
                "us": Verb(
                    "breastkit.evaluation.chain_calibration:calibrate_chain",
                    "temperature, operating point and abstention of 'run us', from labelled pictures of your own",
                    "breastkit calibrate us work/us --out work/calibration.json",
                ),
                "familiar": Verb(
                    "breastkit.evaluation.familiarity_fit:fit_familiar",
                    "where the pictures lie that the classifier has learnt from, by which unfamiliar ones are told",
                    "breastkit calibrate familiar work/us --others work/brain/images --out work/familiar/familiar.npz",
                ),
            },
        ),
        "evaluate": Group(
            "measure whole pipelines on a case list; single networks are measured by their bundles' evaluate.json.",
            {
                "us": Verb(
                    "breastkit.evaluation.chain_evaluation:evaluate_chain",
                    "what 'run us' answers, every picture read by networks that have not seen it",
                    "breastkit evaluate us work/masks --lesion_runs a0 --lesion_runs a1 "
                    "--normal_runs b0 --normal_runs b1 --out out",
                ),
                "late": Verb(
                    "breastkit.evaluation.late_fusion:evaluate_late_fusion",
                    "what BI-RADS, age and the like add to what a classifier says of a picture",
                    "breastkit evaluate late runs/fusion/evaluation --cases work/us --columns birads --out work/late",
                ),
            },
        ),
        "sweep": Verb(
            "breastkit.sweep:sweep",
            "search settings of a bundle's training, every trial a run of its own",
            "breastkit sweep breast_us_lesion_segmentation --space mlflow/space_example.json --dataset_dir work/busi",
        ),
        "compare": Verb(
            "breastkit.evaluation.comparison:compare_runs",
            "compare finished runs: metrics with intervals and paired tests",
            "breastkit compare runs/a runs/b --out work/comparison",
        ),
        "bench": Group(
            "measure speed, or what annotation brings.",
            {
                "active-learning": Verb(
                    "benchmarks.active_learning:simulate_annotation",
                    "simulate annotation: Dice against number of labels for every way to choose the next image",
                    "breastkit bench active-learning --data work/busi",
                ),
                "clicks": Verb(
                    "benchmarks.clicks:bench_clicks",
                    "simulate annotators who click: Dice against number of clicks, and how long an answer takes",
                    "breastkit bench clicks work/us",
                ),
                "prepare": Verb(
                    "benchmarks.prepare:bench_preparation",
                    "time and memory of preparing a set of dynamic MRI, by number of patients",
                    "breastkit bench prepare --patients 48",
                ),
                "soak": Verb(
                    "benchmarks.soak:soak_server",
                    "have many clients use the annotation server for minutes: answers, times, memory",
                    "breastkit bench soak --seconds 1200 --clients 20",
                ),
            },
            otherwise=Verb(
                "benchmarks.run:run_benchmarks",
                "measure speed, as ratios within one run",
                "breastkit bench list",
            ),
        ),
    },
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit code.

    0 when it worked; with one sentence on stderr 1 when something has to be put right first, 2 when the command itself
    was wrong, 3 when some studies of a cohort failed, 130 when it was interrupted.

    Args:
        arguments: the words after ``breastkit``; those of the process by default.
    """
    try:
        _run(sys.argv[1:] if arguments is None else list(arguments))
        sys.stdout.flush()
    except UsageError as error:
        return _end(str(error), EXIT_USAGE)
    except SomeFailedError as error:
        return _end(str(error), EXIT_SOME_FAILED)
    except BreastkitError as error:
        return _end(str(error), EXIT_FAILED)
    except KeyboardInterrupt:
        return _end("\nStopped by Ctrl-C; files that were finished are kept, none is half-written.", EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_OK


def command() -> NoReturn:
    """What ``breastkit`` on the command line is: runs it and ends the process with its exit code."""
    leave(main())


def leave(code: int) -> NoReturn:
    """Ends the process as Python does, without taking its modules apart: that takes seconds and frees what ends anyway.

    Threads are waited for, exit handlers run (they remove temporary folders, end child processes and close logs), and
    what was printed goes out. Where a debugger or profiler looks on, Python ends by itself.

    Args:
        code: the exit code.
    """
    if sys.gettrace() is None and sys.getprofile() is None:
        # As Py_FinalizeEx does it, and multiprocessing for its children.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def _run(words: list[str]) -> None:
    if words[:1] == ["--version"]:
        from importlib.metadata import version

        return _say(f"{PROGRAM} {version(PROGRAM)}")
    node, command, rest = find(COMMANDS, words, program=PROGRAM)
    if isinstance(node, Group):
        return _say(group_help(node, command))
    options = rest[: rest.index("--")] if "--" in rest else rest
    if any(word in HELP_WORDS[:2] for word in options):
        return _say(verb_help(node, command))
    return _call(node, command, rest)


def _call(verb: Verb, command: list[str], words: list[str]) -> None:
    import fire

    from breastkit.lazy_imports import import_lazily
    from breastkit.logs import log_to_stderr

    import_lazily()
    function = verb.function()
    parameters = parameters_of(function)
    checked = checked_words(parameters, words, command)
    parsers = {item.name: item.parse for item in parameters}
    log_to_stderr()
    fire.Fire(
        fire.decorators.SetParseFns(**parsers)(function),
        command=checked,
        name=" ".join(command),
        serialize=_result_text,
    )


def _result_text(result: Any) -> str | None:
    """Says what a verb made: a path is what a user looks for next."""
    if isinstance(result, Path):
        return f"Written: {result}"
    if isinstance(result, Mapping):
        return ", ".join(
            f"{key}: {value}" for key, value in result.items() if isinstance(value, str | int | float | Path)
        )
    return result if isinstance(result, str) else None


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _end(sentence: str, code: int) -> int:
    sys.stderr.write(sentence + "\n")
    return code


if __name__ == "__main__":
    command()
