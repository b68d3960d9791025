import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from unbraid.custom_mapper.mapper_file import CustomMapper, read_mapper
from unbraid.errors import BundleError, DataError, ItemError
from unbraid.io.vector_file import provenance
from unbraid.vectors import normalize

DIM = 512
RNG = np.random.default_rng(0)
QUERY, DOCUMENT = (np.eye(DIM) + 0.05 * RNG.standard_normal((2, DIM, DIM))).astype(np.float32)
ABOUT = {"format": 1, "name": "legal", "base_id": "b", "about": {}}


@pytest.fixture
def place(tmp_path):
    return tmp_path / "legal.mapper"


def one_sided(base_id="b"):
    return CustomMapper("legal", base_id, QUERY, about={"pairs": 3})


def two_sided(base_id="b"):
    return CustomMapper("legal", base_id, QUERY, DOCUMENT)


@pytest.mark.parametrize("make", [one_sided, two_sided])
def test_write_and_read_give_the_same_mapper(make, place):
    make().save(str(place))
    read = read_mapper(place)
    assert (read.name, read.base_id, read.about) == ("legal", "b", make().about)
    assert list(read.matrices) == list(make().matrices)
    for task, matrix in make().matrices.items():
        assert np.array_equal(read.matrices[task], matrix)


def test_one_matrix_is_one_task_and_two_are_two():
    assert one_sided().mode == ("legal", "legal")
    assert two_sided().mode == ("legal-query", "legal-document")


def test_a_side_is_needed_only_where_the_sides_differ():
    assert one_sided().task(None) == one_sided().task("query") == one_sided().task("document") == "legal"
    assert two_sided().task("document") == "legal-document"
    with pytest.raises(ItemError, match="--side query or --side document"):
        two_sided().task(None)


@pytest.mark.parametrize(
    ("tensors", "about", "fault"),
    [
        ({"weight": QUERY}, ABOUT, "tensors"),
        ({"document": QUERY}, ABOUT, "tensors"),
        ({"query": QUERY[:3]}, ABOUT, "expected float32"),
        ({"query": QUERY[0]}, ABOUT, "expected float32"),
        ({"query": QUERY.astype(np.float64)}, ABOUT, "expected float32"),
        ({"query": QUERY, "document": QUERY[:4, :4]}, ABOUT, "document is"),
        ({"query": np.full((2, 2), np.nan, np.float32)}, ABOUT, "not finite"),
        ({"query": QUERY}, {**ABOUT, "format": 2}, "format"),
        ({"query": QUERY}, {**ABOUT, "name": "../x"}, "no name"),
        ({"query": QUERY}, {**ABOUT, "name": 3}, "no name"),
        ({"query": QUERY}, {**ABOUT, "base_id": None}, "base_id"),
        ({"query": QUERY}, {**ABOUT, "about": []}, "about"),
        ({"query": QUERY}, [], "format"),
        ({"query": QUERY}, None, "not a .mapper file"),
    ],
    ids=str,
)
def test_what_is_no_mapper_is_refused_by_name_and_fault(tensors, about, fault, place):
    save_file(tensors, place, metadata=None if about is None else {"unbraid": json.dumps(about)})
    with pytest.raises(DataError, match=f"legal.mapper: .*{fault}"):
        read_mapper(place)


def test_a_file_that_is_missing_or_a_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="gone.mapper"):
        read_mapper(tmp_path / "gone.mapper")
    with pytest.raises(DataError, match="^[^:]*: cannot be read: not a regular file$"):
        read_mapper(tmp_path)


@pytest.fixture(scope="module")
def small_file(tmp_path_factory) -> bytes:
    place = tmp_path_factory.mktemp("small") / "small.mapper"
    CustomMapper("legal", "b", np.eye(4, dtype=np.float32), about={"pairs": 3}).save(place)
    return place.read_bytes()


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_file_is_a_clear_error_or_still_a_mapper(tmp_path_factory, small_file, data):
    place = tmp_path_factory.getbasetemp() / "damaged.mapper"
    content = bytearray(small_file)
    match data.draw(st.sampled_from(["flip", "cut", "insert", "noise"])):
        case "flip":
            for _ in range(data.draw(st.integers(1, 4))):
                content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        case "cut":
            content = content[: data.draw(st.integers(0, len(content) - 1))]
        case "insert":
            at = data.draw(st.integers(0, len(content)))
            content[at:at] = data.draw(st.binary(min_size=1, max_size=20))
        case "noise":
            content = bytearray(data.draw(st.binary(max_size=300)))
    place.write_bytes(content)
    try:
        mapper = read_mapper(place)
    except DataError as error:
        assert "damaged.mapper" in str(error)
    else:
        assert all(np.isfinite(matrix).all() for matrix in mapper.matrices.values())


# -- in an embedder ----------------------------------------------------------------------------------------


def test_an_embedder_gets_the_mode_and_its_tasks(exact, place):
    two_sided(exact.base_id).save(place)
    model = exact.with_mapper(place)
    base = exact.encode(["the cat", "a river"])
    assert model.search_modes["legal"] == ("legal-query", "legal-document")
    np.testing.assert_allclose(model.map(base, "legal-document"), normalize(base @ DOCUMENT.T), atol=1e-6)
    assert np.array_equal(model.matrix("legal-query"), QUERY)
    assert model.encode(["the cat"], task="legal-query", dim=64, numbers="int8").shape == (1, 64)


def test_the_embedder_it_came_from_is_left_alone(exact):
    model = exact.with_mapper(one_sided(exact.base_id))
    assert "legal" in model.tasks and "legal" not in exact.tasks and "legal" not in exact.search_modes
    base = exact.encode(["the cat"])
    assert np.array_equal(model.map(base, "query"), exact.map(base, "query"))


def test_vector_files_tell_own_mappers_apart(exact):
    ids = {
        provenance(exact.with_mapper(mapper), mapper.mode[1], "float32")["mapper_id"]
        for mapper in (one_sided(exact.base_id), two_sided(exact.base_id))
    }
    assert len(ids) == 2 and all(ids)


def test_a_mapper_of_another_base_is_refused_with_advice(exact):
    with pytest.raises(BundleError, match="fitted on base other.*unbraid mapper fit"):
        exact.with_mapper(one_sided("other"))


def test_a_name_that_the_bundle_has_is_refused(exact):
    for name in ("retrieval", "query"):
        with pytest.raises(ItemError, match=f"has a task or mode '{name}' already"):
            exact.with_mapper(CustomMapper(name, exact.base_id, QUERY))


@pytest.mark.parametrize("numbers", ["float32", "int8", "binary"])
def test_mapping_in_chunks_is_mapping_at_once(exact, monkeypatch, numbers):
    base = normalize(RNG.standard_normal((25, DIM)))
    model = exact.with_mapper(one_sided(exact.base_id))
    for task in ("legal", "query"):
        whole = model.map(base, task, dim=64, numbers=numbers)
        with monkeypatch.context() as patch:
            patch.setattr("unbraid.embedder.ROWS", 4)
            parts = model.map(base, task, dim=64, numbers=numbers)
        assert parts.dtype == whole.dtype
        np.testing.assert_allclose(
            parts.astype(float), whole.astype(float), atol=1 if numbers == "int8" else 1e-6
        )
