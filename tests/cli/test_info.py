"""`unbraid info` and `unbraid doctor`."""

import json


def test_info_tells_a_bundle_and_an_index_apart(unbraid, bundle_folder, folder, tmp_path, embedder):
    unbraid("index", folder, "--into", tmp_path / "ix")
    bundle = json.loads(unbraid("info", bundle_folder, "--json", model=False).out)
    index = json.loads(unbraid("info", tmp_path / "ix", "--json", model=False).out)
    assert bundle["base id"] == index["base id"] == embedder.base_id
    assert index["files"] == 3


def test_doctor_times_every_precision_of_every_encoder(unbraid):
    about = json.loads(unbraid("doctor", "--json").out)
    assert {(row["graph"], row["precision"]) for row in about["speeds"]} == {
        ("text", "int8"),
        ("text", "fp32"),
        ("image", "fp32"),
        *(
            (f"{task} mapper", precision)
            for task in ("query", "document", "symmetric", "code")
            for precision in ("fp32", "int8")
        ),
    }
    assert all(rate > 0 for row in about["speeds"] for rate in row["items_per_s"].values())
    assert about["onnxruntime"]
