import itertools

import nibabel
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.transforms import Compose, Invertd

from breastkit.errors import BreastkitError
from breastkit.phantoms.mri import make_mri_phantom
from breastkit.transforms.letterbox_slices import LetterboxSlicesd
from breastkit.transforms.orient_breast import (
    OrientBreastd,
    canonical_orientation,
    decide_orientation,
    read_preset,
    reorient,
)

ORIENTATIONS = [
    "".join(letters) for axes in itertools.permutations(("RL", "AP", "SI")) for letters in itertools.product(*axes)
]


def stored_as(codes, array, affine):
    """The same voxels in the same places of the world, stored in other axes."""
    image = nibabel.Nifti1Image(array, affine)
    start, end = nibabel.io_orientation(affine), nibabel.orientations.axcodes2ornt(codes)
    turned = image.as_reoriented(nibabel.orientations.ornt_transform(start, end))
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(turned.dataobj))[None], affine=turned.affine)


def asymmetric():
    """A volume in the canonical frame no flip or turn of which looks like itself."""
    array = np.random.default_rng(0).normal(size=(7, 9, 5)).astype(np.float32)
    affine = np.array([[-0.8, 0.05, 0, 31], [0.05, 0.9, 0.02, -12], [0, -0.02, 2.0, 3], [0, 0, 0, 1.0]])
    return array, affine


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_every_header_leads_to_the_same_frame_and_back(codes):
    array, affine = asymmetric()
    source = stored_as(codes, array, affine)
    transform = OrientBreastd("image", mode="off")
    result = transform({"image": source})["image"]
    np.testing.assert_array_equal(result[0].numpy(), array)
    np.testing.assert_allclose(result.affine.numpy(), affine, atol=1e-12)
    back = transform.inverse({"image": result})["image"]
    assert torch.equal(back.as_tensor(), source.as_tensor())
    torch.testing.assert_close(back.affine, source.affine)
    assert back.applied_operations == []


def rule(axis, larger):
    ends = ({axis: (0, 50)}, {axis: (50, 100)})
    return {"measure": "mean", "first": ends[0], "second": ends[1], "larger": larger}


@pytest.mark.parametrize("codes", ["LPS", "RAI", "SRP"])
@pytest.mark.parametrize("rows", ["first", "second"])
@pytest.mark.parametrize("slices", ["first", "second"])
def test_what_the_rules_flip_is_undone_on_the_way_back(codes, rows, slices):
    array, affine = asymmetric()
    source = stored_as(codes, array, affine)
    chain = Compose(
        [
            OrientBreastd(("image", "label"), preset={"rows": rule("rows", rows), "slices": rule("slices", slices)}),
            LetterboxSlicesd(("image", "label"), 24),
        ]
    )
    mask = (source > 0.5).float()
    batch = decollate_batch(list_data_collate([chain({"image": source, "label": mask})]))[0]
    decision = batch["image"].meta["orientation_decision"]
    assert decision["header"] == codes
    expected = array
    for axis, name in ((1, "rows"), (2, "slices")):
        assert decision[name]["wrong"] == decision[name]["flipped"]
        expected = np.flip(expected, axis) if decision[name]["flipped"] else expected
    upright = chain.transforms[0]({"image": source, "label": mask})["image"]
    np.testing.assert_array_equal(upright[0].numpy(), expected)
    inverted = Invertd("label", chain, nearest_interp=True, to_tensor=True)(batch)["label"]
    assert torch.equal(inverted.as_tensor(), mask.as_tensor())
    torch.testing.assert_close(inverted.affine, source.affine)


def body(shape=(48, 48, 24)):
    """A crude chest in the canonical frame: liver and lung behind, two breasts in front of it."""
    columns, rows, slices = np.meshgrid(*(np.linspace(0, 1, n) for n in shape), indexing="ij")
    volume = np.where(rows < 0.45, np.where(slices < 0.4, 80.0, 20.0), 1.0)
    for centre in (0.28, 0.72):
        volume[((columns - centre) / 0.2) ** 2 + ((rows - 0.45) / 0.4) ** 2 + ((slices - 0.5) / 0.4) ** 2 < 1] = 60
    return volume + np.random.default_rng(0).random(shape)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.5, 20), st.floats(-50, 200), st.booleans(), st.booleans())
def test_the_default_rules_find_flips_at_any_gain(gain, offset, rows, slices):
    volume = torch.from_numpy(body() * gain + offset).float()
    told = volume.flip([axis for axis, flip in ((1, rows), (2, slices)) if flip])
    assert decide_orientation(told, read_preset("default")).wrong == {"rows": rows, "slices": slices}


@pytest.mark.parametrize("seed", [1, 2])
def test_the_default_rules_undo_the_lies_of_phantoms(seed):
    phantom = make_mri_phantom(7, seed, shape=(64, 64, 24), phases=2)
    truth = torch.from_numpy(phantom.phases[1].astype(np.float32))[None]
    truth = reorient(truth, canonical_orientation(phantom.affine))
    liar = make_mri_phantom(7, seed, shape=(64, 64, 24), phases=2, lie=True)
    told = MetaTensor(torch.from_numpy(liar.phases[1].astype(np.float32))[None], affine=liar.affine)
    result = OrientBreastd("image")({"image": told})["image"]
    assert torch.equal(result.as_tensor(), truth)


def test_the_original_preset_is_as_it_was_described():
    volume = torch.full((10, 10, 21), 5.0)
    volume[..., 18] = 1  # the 90th percentile of 21 slices
    volume[:, 5:, 18] = 3
    volume[..., 2] = 4  # the 10th, the brighter one of the two
    decision = decide_orientation(volume, read_preset("original"))
    assert decision.values == {"rows": (1.0, 3.0), "slices": (4.0, 2.0)}
    assert decision.wrong == {"rows": False, "slices": False}
    assert decide_orientation(volume.flip(1), read_preset("original")).wrong == {"rows": True, "slices": False}
    assert decide_orientation(volume.flip(2), read_preset("original")).wrong["slices"]
    flat = decide_orientation(torch.ones(4, 4, 4), read_preset("original"))
    assert not any(flat.wrong.values())


def test_report_says_what_correct_would_do():
    told = MetaTensor(torch.from_numpy(body()).float().flip(1)[None], affine=np.diag([-1.0, 1, 2, 1]))
    reported = OrientBreastd("image", mode="report")({"image": told})["image"]
    assert torch.equal(reported.as_tensor(), told.as_tensor())
    decision = reported.meta["orientation_decision"]
    assert (decision["rows"]["wrong"], decision["rows"]["flipped"]) == (True, False)
    corrected = OrientBreastd("image")({"image": told})["image"]
    assert torch.equal(corrected.as_tensor(), told.as_tensor().flip(2))
    assert corrected.meta["orientation_decision"]["rows"]["flipped"]
    # World positions stay what the header says.
    assert nibabel.aff2axcodes(corrected.affine.numpy()) == ("L", "P", "S")


def test_auto_corrects_files_and_reports_on_dicom_series(tmp_path):
    lying = MetaTensor(torch.from_numpy(body()).float().flip(1)[None], affine=np.diag([-1.0, 1, 2, 1]))
    for place, corrected in ((tmp_path, False), (tmp_path / "scan.nii.gz", True)):
        lying.meta["filename_or_obj"] = str(place)
        decision = OrientBreastd("image", mode="auto")({"image": lying})["image"].meta["orientation_decision"]
        assert (decision["rows"]["wrong"], decision["rows"]["flipped"]) == (True, corrected)
        assert decision["mode"] == ("correct" if corrected else "report")


def test_what_makes_no_sense_is_named():
    with pytest.raises(BreastkitError, match="orientation mode"):
        OrientBreastd("image", mode="maybe")
    with pytest.raises(BreastkitError, match="no orientation preset 'mine'"):
        OrientBreastd("image", preset="mine")
    with pytest.raises(BreastkitError, match="look at rows and slices, not columns"):
        OrientBreastd("image", preset={"columns": rule("rows", "first")})
    with pytest.raises(BreastkitError, match="larger"):
        OrientBreastd("image", preset={"rows": rule("rows", "third")})
    with pytest.raises(BreastkitError, match="lacks a part"):
        OrientBreastd("image", preset={"rows": {"first": {}}})
    with pytest.raises(BreastkitError, match="measures"):
        OrientBreastd("image", preset={"rows": {**rule("rows", "first"), "measure": "mode"}})
    with pytest.raises(BreastkitError, match="another size"):
        OrientBreastd(("image", "label"), mode="off")(
            {"image": MetaTensor(torch.ones(1, 3, 3, 3)), "label": MetaTensor(torch.ones(1, 3, 3, 4))}
        )
