"""MONAI without what it imports only in case it is needed: that comes when it is.

``import monai`` loads every module of MONAI, most of them twice, and with them whatever optional package is installed:
matplotlib, pandas, scikit-learn, torchvision, MLflow, transformers. A command that reads one picture would wait for
them longer than for anything it does. `import_lazily` changes how it is imported, as follows, and nothing of what is:

- modules of MONAI are loaded when they are first imported or asked for as an attribute (``monai.losses.DiceLoss``), and
  all of them when a config names a component without its module (``"_target_": "DiceLoss"``) that is in none of those
  loaded so far;
- an optional package, `OPTIONAL`, is imported at the first use of what MONAI wanted of it;
- ignite's checkpoints import torch's sharded optimisers when they meet one;
- of timm's hundred families of networks, most are loaded once a network is asked for that the others do not know.

The command line asks for this, and the worker processes it starts; whoever imports MONAI otherwise, as
``python -m monai.bundle`` and notebooks do, gets it as it is.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

# What MONAI asks for with `optional_import` and takes long to load; a name stands for all below it.
OPTIONAL = (
    "PIL",
    "cuda",
    "bs4",
    "cucim",
    "cv2",
    "einops",
    "gdown",
    "huggingface_hub",
    "itk",
    "jsonschema",
    "lmdb",
    "matplotlib",
    "mlflow",
    "nibabel",
    "nrrd",
    "onnx",
    "onnxruntime",
    "openslide",
    "pandas",
    "psutil",
    "pydicom",
    "pynvml",
    "requests",
    "scipy",
    "skimage",
    "sklearn",
    "tensorboard",
    "tensorboardX",
    "tifffile",
    "torch.utils.tensorboard",
    "torchvision",
    "transformers",
    "zarr",
)


def import_lazily() -> None:
    """Makes the import of MONAI a lazy one, where it has not been imported yet."""
    if "monai" not in sys.modules and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


# The families of timm's networks that our encoders and classifiers are of; they are loaded with it.
_TIMM_FAMILIES = ("efficientnet", "resnet")

# The pattern of the modules that MONAI leaves out when it loads all others, as long as it has not.
_NOT_LOADED: list[str] = []


class Later:
    """Stands for an object until it is used: called, subclassed, compared with by `isinstance`, asked for an attribute.

    Args:
        load: gives the object.
    """

    def __init__(self, load: Callable[[], Any]) -> None:
        self._load = load

    def _loaded(self) -> Any:
        # Twice in two threads does no harm: imports give the same object.
        if "_object" not in self.__dict__:
            self.__dict__["_object"] = self._load()
        return self.__dict__["_object"]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loaded(), name)

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Calls the object."""
        return self._loaded()(*args, **options)

    def __getitem__(self, key: Any) -> Any:
        return self._loaded()[key]

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self._loaded())

    def __subclasscheck__(self, subclass: type) -> bool:
        return issubclass(subclass, self._loaded())

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (self._loaded(),)


class _Finder:
    """Finds modules as Python does, and changes how some of them are executed."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        change = _CHANGED.get(name) or (_with_submodules if name.split(".")[0] == "monai" else None)
        spec = PathFinder.find_spec(name, path, target) if change else None
        if change is None or spec is None or spec.loader is None:
            return None
        spec.loader.exec_module = partial(change, spec.loader.exec_module)  # type: ignore[method-assign]
        return spec


def _with_submodules(execute: Callable[[ModuleType], None], module: ModuleType) -> None:
    """Executes a module of MONAI; what it lacks is then looked for among its submodules."""

    def submodule(name: str) -> ModuleType:
        full = f"{module.__name__}.{name}"
        if not name.startswith("__") and hasattr(module, "__path__"):
            try:
                return importlib.import_module(full)
            except ModuleNotFoundError as error:
                if error.name != full:
                    raise
        raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

    execute(module)
    module.__dict__.setdefault("__getattr__", submodule)


def _import_tools(execute: Callable[[ModuleType], None], tools: ModuleType) -> None:
    """Executes ``monai.utils.module``, whose functions decide what the rest of MONAI imports."""
    execute(tools)
    load, at_once = tools.load_submodules, tools.optional_import

    def load_submodules(base: ModuleType, *args: Any, **options: Any) -> tuple[list[Any], list[str]]:
        if base.__name__ != "monai":
            loaded: tuple[list[Any], list[str]] = load(base, *args, **options)
            return loaded
        _NOT_LOADED[:] = [options["exclude_pattern"]]
        # `data` and `transforms` import each other, which only works from here, where MONAI begins as well.
        importlib.import_module("monai.apps")
        return [], []

    def optional_import(module: str, *args: Any, **options: Any) -> tuple[Any, bool]:
        if module in sys.modules or not _is_optional(module) or importlib.util.find_spec(module.split(".")[0]) is None:
            found: tuple[Any, bool] = at_once(module, *args, **options)
            return found
        return Later(lambda: at_once(module, *args, **options)[0]), True

    tools.__dict__.update(load_submodules=load_submodules, optional_import=optional_import)


def _component_names(execute: Callable[[ModuleType], None], module: ModuleType) -> None:
    """Executes ``monai.bundle.config_item``, which looks components up in the modules that are loaded."""
    execute(module)
    locator = module.ComponentLocator
    in_loaded, scan = locator.get_component_module_name, locator._find_classes_or_functions
    tables: dict[tuple[str, ...], dict[str, list[str]]] = {}

    def scanned_once(self: Any, names: Sequence[str]) -> dict[str, list[str]]:
        key = tuple(names)
        if key not in tables:
            tables.clear()
            tables[key] = scan(self, names)
        return tables[key]

    def in_all(self: Any, name: str) -> list[str] | str | None:
        found: list[str] | str | None = in_loaded(self, name)
        if found is None and name.isidentifier() and _load_all():
            self._components_table = None
            found = in_loaded(self, name)
        return found

    locator.get_component_module_name, locator._find_classes_or_functions = in_all, scanned_once


def _load_all() -> bool:
    """Loads what MONAI loads by itself; tells whether that was still to be done."""
    if not _NOT_LOADED:
        return False
    pattern, monai = _NOT_LOADED.pop(), sys.modules["monai"]
    for found in pkgutil.walk_packages(monai.__path__, prefix="monai."):
        if re.match(pattern, found.name) is None:
            importlib.import_module(found.name)
    return True


def _is_optional(name: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in OPTIONAL)


def _beside(stand_in: str) -> Callable[[Callable[[ModuleType], None], ModuleType], None]:
    """Returns what executes a module that imports another one at its top, with a stand-in for that."""

    def execute_beside(execute: Callable[[ModuleType], None], module: ModuleType) -> None:
        with _stand_in(stand_in):
            execute(module)
        if module.__name__.startswith("monai."):
            _with_submodules(lambda _: None, module)

    return execute_beside


@contextmanager
def _stand_in(name: str) -> Iterator[None]:
    """Puts a module whose attributes are `Later` in the place of one that is not loaded, and of those it lies in."""
    words = name.split(".")
    missing = [name for name in (".".join(words[: end + 1]) for end in range(len(words))) if name not in sys.modules]
    for each in missing:
        module = sys.modules[each] = ModuleType(each)
        module.__path__ = []
        module.__getattr__ = partial(_later, each)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for each in missing:
            del sys.modules[each]


def imported_later(name: str) -> Any:
    """Returns a module that is imported when something of it is used.

    For what few runs of a module need and takes long to load; type checkers see the import beside it.

    Args:
        name: of the module.
    """
    return sys.modules.get(name) or Later(lambda: importlib.import_module(name))


def _later(module: str, name: str) -> Later:
    if name.startswith("__"):
        raise AttributeError(name)

    def load() -> Any:
        found = importlib.import_module(module)
        return getattr(found, name) if hasattr(found, name) else importlib.import_module(f"{module}.{name}")

    return Later(load)


def _without_compiler(execute: Callable[[ModuleType], None], module: ModuleType) -> None:
    """Executes ``torch._compile``, which keeps torch's compiler away from functions and loads it for that.

    As long as nobody has loaded the compiler there is nothing to keep away.
    """
    execute(module)
    keep_away = module._disable_dynamo

    def disable_dynamo(function: Callable[..., Any] | None = None, recursive: bool = True) -> Callable[..., Any]:
        if function is None:
            return partial(disable_dynamo, recursive=recursive)
        kept_away = keep_away(function, recursive)

        @wraps(function)
        def called(*args: Any, **options: Any) -> Any:
            return (kept_away if "torch._dynamo" in sys.modules else function)(*args, **options)

        return called

    module.__dict__["_disable_dynamo"] = disable_dynamo


def _compiler_later(execute: Callable[[ModuleType], None], module: ModuleType) -> None:
    """Executes ``timm.layers.typing``, whose decorator loads torch's compiler where it stands."""
    execute(module)
    at_once = module.disable_compiler

    def disable_compiler(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def disabled(*args: Any, **options: Any) -> Any:
            return at_once(function)(*args, **options)

        return disabled

    module.__dict__["disable_compiler"] = disable_compiler


def _most_families_later(execute: Callable[[ModuleType], None], models: ModuleType) -> None:
    """Executes ``timm.models``, which imports every family of networks, with empty ones in the place of most."""
    # Those of older versions' names, which nobody asks for without knowing, warn when they are imported.
    source = inspect.getsource(models)
    names = re.findall(r"^from \.(\w+) import \*$", source, re.MULTILINE)
    later = [name for name in names if name not in _TIMM_FAMILIES and f"{models.__name__}.{name}" not in sys.modules]
    for name in later:
        empty = sys.modules[f"{models.__name__}.{name}"] = ModuleType(name)
        empty.__dict__["__all__"] = []
    try:
        execute(models)
    finally:
        for name in later:
            del sys.modules[f"{models.__name__}.{name}"]

    def asked_for(name: str) -> Any:
        if not name.startswith("__"):
            if name in names:
                return importlib.import_module(f"{models.__name__}.{name}")
            _load_families(models, later)
            if name in models.__dict__:
                return models.__dict__[name]
        raise AttributeError(f"module {models.__name__!r} has no attribute {name!r}")

    models.__dict__["__getattr__"] = asked_for
    models._registry.__dict__["_load_families"] = lambda: _load_families(models, later)


def _load_families(models: ModuleType, later: list[str]) -> None:
    while later:
        family = importlib.import_module(f"{models.__name__}.{later.pop()}")
        models.__dict__.update({name: getattr(family, name) for name in getattr(family, "__all__", ())})


def _registry_of_all(execute: Callable[[ModuleType], None], registry: ModuleType) -> None:
    """Executes ``timm.models._registry``, whose questions are about all families."""
    execute(registry)
    known = registry.is_model

    def after_loading(ask: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(ask)
        def asked(*args: Any, **options: Any) -> Any:
            registry.__dict__.get("_load_families", lambda: None)()
            return ask(*args, **options)

        return asked

    def is_model(model_name: str) -> bool:
        return bool(known(model_name)) or bool(after_loading(known)(model_name))

    registry.__dict__["is_model"] = is_model
    for name in ("list_models", "list_modules", "list_pretrained", "is_model_in_modules", "get_deprecated_models"):
        registry.__dict__[name] = after_loading(getattr(registry, name))


_CHANGED: dict[str, Callable[[Callable[[ModuleType], None], ModuleType], None]] = {
    "monai.utils.module": _import_tools,
    "monai.utils.jupyter_utils": _beside("matplotlib.pyplot"),
    "monai.bundle.config_item": _component_names,
    "ignite.handlers.checkpoint": _beside("torch.distributed.optim"),
    "timm.layers.typing": _compiler_later,
    "timm.models": _most_families_later,
    "timm.models._registry": _registry_of_all,
    "torch._compile": _without_compiler,
    "torchvision.ops.roi_align": _beside("torch._dynamo.utils"),
}
