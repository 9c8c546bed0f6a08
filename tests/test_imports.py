"""Who may import whom (the picture is in the README): read from the source, nothing is imported."""

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "tools" / "breastkit"
# From the bottom up; a module imports from lower layers and from its own.
LAYERS = [
    {
        "errors",
        "atomic",
        "records",
        "lazy_imports",
        "progress",
        "seeding",
        "logs",
        "images",
        "pictures",
        "places",
        "tables",
        "ray_cluster",
        "temporary",
        "volume_order",
    },
    {"cases"},
    {"weights"},
    {"dicom"},
    {"dicomweb"},
    {"transforms", "networks", "metrics"},
    {"bundle", "opened_bundle"},
    {"model_record", "model_registry", "promotion", "saved_view"},
    {"phantoms"},
    {"dce"},
    {"training"},
    {"datasets"},
    {"active_learning", "detection", "explain"},
    {"inference"},
    {"clinical"},
    {"report"},
    {"findings"},
    {"pipelines"},
    {"evaluation"},
    {"models", "sweep"},
    {"server"},
    {"demo"},
    {"cli", "usage"},
]
LEVELS = {name: level for level, names in enumerate(LAYERS) for name in names}
# `usage` checks words and imports verbs by name; it stands on the error type alone.
ONLY_IN = {
    "pydicom": ("dicom", "dicomweb"),
    "highdicom": ("dicom",),
    "ultralytics": ("detection",),
    "monailabel": ("server",),
    "fire": ("cli", "usage"),
}
LIGHT = {"cases", "networks", "transforms", "training"}
HEAVY = {"ultralytics", "monailabel", "pydicom", "highdicom", "itk", "SimpleITK", "mlflow", "matplotlib", "openvino"}
# copy, so that a config can derive one network from another (averaged weights).
CONFIG_MODULES = ("monai", "torch", "ignite", "segmentation_models_pytorch", "breastkit", "copy")


def modules():
    return sorted(path for path in PACKAGE.rglob("*.py"))


def part_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports_of(path):
    """Yields (module, line, whether it is at the top of the file) for every import, those inside functions too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno, node in tree.body) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            if node.module == "breastkit":
                yield from ((f"breastkit.{alias.name}", node.lineno, node in tree.body) for alias in node.names)
            else:
                yield node.module, node.lineno, node in tree.body


def test_every_part_of_the_package_has_a_layer():
    assert {part_of(path) for path in modules()} - {"__init__"} <= set(LEVELS)


def test_imports_point_downwards():
    upwards = []
    for path in modules():
        for module, line, _ in imports_of(path):
            words = module.split(".")
            imported = LEVELS.get(words[1], 0) if words[0] == "breastkit" and len(words) > 1 else 0
            if imported > LEVELS.get(part_of(path), len(LAYERS)):
                upwards.append(f"{path.relative_to(ROOT)}:{line} imports {module}")
    assert not upwards


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_has_one_home(library):
    homes = ONLY_IN[library]
    strangers = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in modules()
        for module, line, _ in imports_of(path)
        if module.split(".")[0] == library and part_of(path) not in homes
    ]
    assert not strangers


def test_training_runs_on_a_bare_gpu_machine():
    """cases, networks, transforms and training need nothing heavier than torch, monai and ignite to be imported."""
    heavy = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in modules()
        if part_of(path) in LIGHT
        for module, line, at_top in imports_of(path)
        if at_top and module.split(".")[0] in HEAVY
    ]
    assert not heavy


def test_monailabel_is_imported_by_server_and_apps_alone():
    strangers = [
        str(path.relative_to(ROOT))
        for folder in ("bundles", "mlflow", "tests")
        for path in (ROOT / folder).rglob("*.py")
        if any(module.split(".")[0] == "monailabel" for module, _, _ in imports_of(path))
        and "server" not in path.parts
        and "apps" not in path.parts
    ]
    assert not strangers


def test_bundles_hold_no_python():
    assert not list((ROOT / "bundles").rglob("*.py"))


def test_configs_name_allowed_modules_only():
    strangers = []
    for path in (ROOT / "bundles").rglob("configs/*.json"):
        for target in re.findall(r'"_target_":\s*"([^"]+)"', path.read_text(encoding="utf-8")):
            # A name without a module is one of MONAI's own components.
            if "." in target and target.split(".")[0] not in CONFIG_MODULES:
                strangers.append(f"{path.relative_to(ROOT)}: {target}")
    assert not strangers


def test_configs_are_json_a_user_can_read():
    for path in (ROOT / "bundles").rglob("configs/*.json"):
        json.loads(path.read_text(encoding="utf-8"))


def test_names_say_what_a_module_holds():
    vague = {"util", "utils", "helper", "helpers", "common", "misc"}
    folders = (PACKAGE, ROOT / "tests", ROOT / "apps")
    assert not [path for folder in folders for path in folder.rglob("*.py") if vague & set(path.with_suffix("").parts)]
    # A folder of this name with an __init__ would shadow the mlflow package.
    assert not (ROOT / "mlflow" / "__init__.py").exists()
