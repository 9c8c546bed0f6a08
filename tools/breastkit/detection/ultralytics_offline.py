"""Importing ultralytics without what it does besides: no network, nothing in the home folder."""

from __future__ import annotations

import atexit
import importlib
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import cv2
import numpy as np
import PIL.Image
import torch


def ultralytics_module(name: str) -> ModuleType:
    """Returns a module of ultralytics.

    At its first import ultralytics asks the network whether it is online, writes a settings file, and changes what
    numpy, torch, OpenCV, Pillow and the warnings do in the whole process. Here it is told to stay offline, its settings
    file goes to a temporary folder that disappears with the process, and all else is afterwards what it was.

    Args:
        name: for example ``ultralytics.nn.tasks``.
    """
    if "ultralytics" in sys.modules:
        with _everything_restored():
            return importlib.import_module(name)
    folder = tempfile.mkdtemp(prefix="breastkit-yolo-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with _everything_restored():
        os.environ.update(YOLO_CONFIG_DIR=folder, YOLO_OFFLINE="true", YOLO_VERBOSE="false", YOLO_AUTOINSTALL="false")
        return importlib.import_module(name)


@contextmanager
def _everything_restored() -> Iterator[None]:
    environment, threads = dict(os.environ), cv2.getNumThreads()
    save, open_image = torch.save, PIL.Image.open
    with warnings.catch_warnings(), np.printoptions():
        try:
            yield
        finally:
            torch.save, PIL.Image.open = save, open_image
            torch.set_printoptions(profile="default")
            cv2.setNumThreads(threads)
            os.environ.clear()
            os.environ.update(environment)
