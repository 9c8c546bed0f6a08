"""Puts the bundles, the MONAI Label app and MLflow's settings into a wheel, which then runs without a checkout.

All else stands in pyproject.toml. An editable installation takes them from the checkout: see `breastkit.places`.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# Each with what is made beside its files when they are used.
SHIPPED = {
    "bundles": ("__pycache__", ".*"),
    "apps/breast_monailabel": ("__pycache__", ".*", "bin", "logs", "model"),
    "mlflow": ("__pycache__", ".*"),
}


class BuildWithBundles(build_py):
    """Builds the package with its `shipped` folder."""

    def run(self) -> None:
        """Builds it."""
        super().run()
        if self.editable_mode:
            return
        shipped = Path(self.build_lib, "breastkit", "shipped")
        # An earlier build may have left files there that are gone since.
        shutil.rmtree(shipped, ignore_errors=True)
        for name, ignored in SHIPPED.items():
            shutil.copytree(ROOT / name, shipped / name, ignore=shutil.ignore_patterns(*ignored))


setup(cmdclass={"build_py": BuildWithBundles})
