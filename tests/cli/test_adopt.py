"""`unbraid adopt`."""


def test_a_missing_extra_is_named(unbraid, monkeypatch, tmp_path):
    monkeypatch.setattr("unbraid.errors.find_spec", lambda package: None)
    result = unbraid("adopt", tmp_path, "--out", tmp_path / "out", model=False)
    assert result.code == 2
    assert "pip install 'unbraid[export]'" in result.err


def test_what_is_no_model_is_refused_by_what_it_is(unbraid, bundle_folder, tmp_path):
    file = tmp_path / "weights.bin"
    file.write_bytes(b"")
    for given, told in (
        (file, "is a file"),
        (bundle_folder, "a bundle of unbraid already"),
        ("starter", "already"),
    ):
        result = unbraid("adopt", given, "--out", tmp_path / "out", model=False)
        assert result.code == 2
        assert told in result.err
