"""Breast MRI and ultrasound analysis as MONAI bundles."""
