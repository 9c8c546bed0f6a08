"""What commands load: MONAI and optional packages come when they are used, and are then what they always are."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from breastkit import cli
from breastkit.lazy_imports import OPTIONAL, Later

ROOT = Path(__file__).parent.parent
PATIENCE = 240
# No command needs them to begin, and each would take longer to load than most commands take.
NEVER = {
    "IPython",
    "itk",
    "matplotlib",
    "mlflow",
    "monai.apps.detection",
    "monailabel",
    "onnx",
    "sympy",
    "tensorboard",
    "torch._dynamo",
    "torch.distributed.fsdp",
    "transformers",
    "ultralytics",
}
NETWORKS = {"torch", "monai", "ignite", "torchvision", "timm", "openvino", "segmentation_models_pytorch"}
TABLES, DICOM = {"pandas", "sklearn"}, {"pydicom", "highdicom"}
# Evaluation and calibration compute figures with scikit-learn.
UNUSED = {
    "run us": NEVER | TABLES | {"highdicom", "timm", "torchvision", "scipy.ndimage"},
    "run mri": NEVER | TABLES | {"highdicom", "scipy.ndimage"},
    "serve": NEVER | {"highdicom", "sklearn", "timm", "torchvision"},
    "data check tissue": NEVER | NETWORKS | TABLES | DICOM,
    "data join": NEVER | NETWORKS | TABLES | DICOM,
    "data phantom mri": NEVER | NETWORKS | TABLES | DICOM,
    "data phantom us": NEVER | NETWORKS | TABLES | DICOM,
    "data preview": NEVER | NETWORKS | TABLES | DICOM,
    "data prepare brain": NEVER | NETWORKS | TABLES | DICOM,
    "data prepare busbra": NEVER | NETWORKS | TABLES | DICOM,
    "data prepare busi": NEVER | NETWORKS | TABLES | DICOM,
    "data prepare pairs": NEVER | NETWORKS | TABLES | DICOM,
    "data prepare tissue": NEVER | NETWORKS | TABLES | DICOM,
    "data report": NEVER | NETWORKS | TABLES | DICOM,
    **{
        f"models {verb}": NEVER | NETWORKS | TABLES | DICOM
        for verb in ("card", "list", "promote", "register", "rollback", "show", "verify")
    },
    "bench": NEVER | NETWORKS | TABLES | DICOM,
}


def run_python(program, *words, **environment):
    """Runs a program in a process of its own and returns what it printed as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("command", UNUSED)
def test_a_command_loads_only_what_it_uses(command):
    loaded = run_python(
        """
        import json, sys
        from breastkit.cli import COMMANDS
        from breastkit.lazy_imports import import_lazily
        from breastkit.usage import find
        import_lazily()
        node, *_ = find(COMMANDS, sys.argv[1].split(), program="breastkit")
        node.function()
        print(json.dumps(list(sys.modules)))
        """,
        command,
    )
    assert not UNUSED[command] & set(loaded)


def test_every_command_of_data_and_models_is_watched():
    watched = {*UNUSED}
    # These read DICOM or run networks over what they prepare.
    others = {"data prepare duke", "data prepare qin", "data crossfit"}
    verbs = {" ".join(("data", *words)) for words in _verbs(cli.COMMANDS.members["data"])}
    verbs |= {" ".join(("models", *words)) for words in _verbs(cli.COMMANDS.members["models"])}
    assert verbs == {command for command in watched | others if command.split()[0] in ("data", "models")}


def _verbs(group):
    for word, member in group.members.items():
        if hasattr(member, "members"):
            yield from ((word, *words) for words in _verbs(member))
        else:
            yield (word,)


def test_an_opened_bundle_leaves_compilers_alone():
    loaded = run_python(
        """
        import json, sys
        from breastkit.lazy_imports import import_lazily
        import_lazily()
        import numpy as np
        from breastkit.inference.ultrasound import Segmenter
        Segmenter(backend="torch")(np.zeros((64, 64), np.uint8))
        print(json.dumps(list(sys.modules)))
        """
    )
    assert not (NEVER | {"sklearn", "highdicom", "timm.models.convnext"}) & set(loaded)


def test_monai_is_whole_once_asked():
    """Modules by attribute, components by name alone, optional packages by use, subclasses of what came later."""
    found = run_python(
        """
        import json, sys
        from breastkit.lazy_imports import import_lazily
        import_lazily()
        import monai
        first = "monai.apps.detection" in sys.modules, "matplotlib" in sys.modules
        from monai.bundle import ConfigParser
        parser = ConfigParser({
            "unloaded": {"_target_": "BoxCoder", "weights": [1, 1, 1, 1]},
            "by_path": "$monai.apps.detection.utils.box_coder.BoxCoder",
            "loaded": {"_target_": "DiceLoss"},
        })
        parts = {name: parser.get_parsed_content(name) for name in ("unloaded", "by_path", "loaded")}
        from ignite.handlers import Checkpoint
        from ignite.handlers.checkpoint import ZeroRedundancyOptimizer
        from torch.distributed.optim import ZeroRedundancyOptimizer as real
        print(json.dumps({
            "first": first,
            "unloaded": type(parts["unloaded"]) is parts["by_path"],
            "loaded": type(parts["loaded"]).__module__,
            "figure": monai.utils.jupyter_utils.plt.Figure.__module__,
            "checkpoint": isinstance(object.__new__(real), ZeroRedundancyOptimizer),
            "handler": monai.handlers.MLFlowHandler.__name__,
            "nibabel": monai.data.image_reader.nib.__version__ != "",
        }))
        """
    )
    assert found.pop("first") == [False, False]
    assert found.pop("loaded") == "monai.losses.dice"
    assert (found.pop("figure"), found.pop("handler")) == ("matplotlib.figure", "MLFlowHandler")
    assert found == {"unloaded": True, "checkpoint": True, "nibabel": True}


def test_timm_is_whole_once_asked():
    found = run_python(
        """
        import json, sys
        from breastkit.lazy_imports import import_lazily
        import_lazily()
        import timm
        timm.create_model("tf_efficientnet_lite0")
        print(json.dumps({
            "first": [name for name in ("efficientnet", "convnext") if f"timm.models.{name}" in sys.modules],
            "submodule": timm.models.vgg.VGG.__name__,
            "class": timm.models.ConvNeXt.__name__,
            "model": timm.is_model("convnext_atto"),
            "nothing": timm.is_model("nothing_of_this_name"),
            "names": timm.list_models(),
        }))
        """
    )
    names = run_python("import json, timm; print(json.dumps(timm.list_models()))")
    assert found.pop("first") == ["efficientnet"]
    assert found.pop("names") == names
    assert found == {"submodule": "VGG", "class": "ConvNeXt", "model": True, "nothing": False}


@pytest.mark.slow
def test_all_of_monai_is_found_by_name():
    names = """
        import json, sys
        from breastkit.lazy_imports import import_lazily
        if sys.argv[1] == "lazy":
            import_lazily()
        from monai.bundle import ComponentLocator
        locator = ComponentLocator()
        locator.get_component_module_name("NothingOfThisName")
        print(json.dumps(sorted(locator._components_table)))
    """
    assert set(run_python(names, "lazy")) >= set(run_python(names, "whole"))


def test_optional_packages_are_named_once():
    assert sorted(set(OPTIONAL), key=str.casefold) == sorted(OPTIONAL, key=str.casefold)


def test_later_stands_for_an_object():
    loads = []

    def load():
        loads.append(1)
        return dict

    later = Later(load)
    assert not loads
    assert later(a=1) == {"a": 1}
    assert later.fromkeys("a") == {"a": None}
    assert isinstance({}, later)
    assert issubclass(dict, later)
    assert later[str, int] == dict[str, int]

    class Child(later):
        pass

    assert Child.__mro__[1] is dict
    assert len(loads) == 1
