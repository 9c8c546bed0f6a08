from benchmarks.chain import line_of, measure, open_networks, phantom_study


def test_what_is_spared_costs_no_candidate():
    phases = phantom_study(6, shape=(96, 96, 32))
    figures = measure(phases, open_networks())
    assert figures["again"] == figures["candidates"] > 0
    assert 0 < figures["slices"] <= 1
    assert 0 < figures["breast"] < 1
    assert 0 < figures["body"] <= 1
    assert f"shows {figures['again']} of {figures['again']} candidates again" in line_of(figures)
    assert set(figures["seconds"]) == {
        "breasts", "boxes on whole slices", "boxes around the breasts", "outlines", "measuring",
    }  # fmt: skip
