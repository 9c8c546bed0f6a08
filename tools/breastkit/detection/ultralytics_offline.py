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
import torch


def ultralytics_module(name: str) -> ModuleType:
    """Returns a module of ultralytics.

    At its first import ultralytics asks the network whether it is online, writes a settings file, and changes settings
    of numpy, torch, OpenCV and the warnings for the whole process. Here it is told to stay offline, its settings file
    goes to a temporary folder that disappears with the process, and all else is afterwards what it was.

    Args:
        name: for example ``ultralytics.nn.tasks``.
    """
    if "ultralytics" in sys.modules:
        return importlib.import_module(name)
    folder = tempfile.mkdtemp(prefix="breastkit-yolo-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with _everything_restored():
        os.environ.update(YOLO_CONFIG_DIR=folder, YOLO_OFFLINE="true", YOLO_VERBOSE="false", YOLO_AUTOINSTALL="false")
        return importlib.import_module(name)


@contextmanager
def _everything_restored() -> Iterator[None]:
    environment, save, threads = dict(os.environ), torch.save, cv2.getNumThreads()
    with warnings.catch_warnings(), np.printoptions():
        try:
            yield
        finally:
            torch.save = save
            torch.set_printoptions(profile="default")
            cv2.setNumThreads(threads)
            os.environ.clear()
            os.environ.update(environment)
