from benchmarks.candidate import candidate_rule_recovery
from breastkit.phantoms.mri import make_mri_phantom


def test_only_phantoms_with_lesions_count():
    shape = (32, 32, 12)
    result = candidate_rule_recovery(cases=6, seed=2, shape=shape, workers=1)
    with_lesions = sum(bool(make_mri_phantom(2, case, shape=shape).lesion_table) for case in range(1, 7))
    assert result["with_lesions"] == with_lesions
    assert 0 <= result["found"] <= with_lesions
