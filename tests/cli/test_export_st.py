"""`unbraid export-st`."""


def test_writes_a_folder_and_says_how_near_it_is(unbraid, bundle_folder, tmp_path):
    told = unbraid("export-st", bundle_folder, tmp_path / "out", "--tier", "nano", model=False)
    assert (tmp_path / "out" / "modules.json").exists()
    assert "tasks base, code, document, query, symmetric, code-query" in told.out
    assert "largest difference from the bundle's float32 graphs: " in told.out
    assert told.err.endswith("left out: image\n")


def test_a_tier_that_does_not_exist_is_one_line(unbraid, bundle_folder, tmp_path):
    told = unbraid("export-st", bundle_folder, tmp_path / "out", "--tier", "huge", model=False)
    assert told.code == 2
    assert "has no tier 'huge'" in told.err
    assert not (tmp_path / "out").exists()
