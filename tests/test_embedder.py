import copy
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import unbraid
from unbraid.bundle import read_bundle
from unbraid.errors import BundleError, ImageError, ItemError
from unbraid.items import Code

TASKS = (
    "query",
    "document",
    "symmetric",
    "code",
)  # the tiny bundle's first two are low-rank, the others linear
DIMS = (512, 256, 128, 64)
FUZZ = settings(max_examples=60, deadline=None)
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)  # lone surrogates among it
# fp32 kernels add up in an order that depends on the shape of the batch; a change of one word moves a vector
# by about 1e-1.
FP32 = 1e-5
# The tiny bundle's int8 graph is 2e-4 away from fp32 in cosine.
INT8_COSINE = 0.999

TEXTS = ["the cat", "a dog in the house", "bright green moon", "", "river of red and green " * 4]
CODES = [Code("def getModel(self): return self"), Code("catDog")]


def picture(seed: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)).resize(size)


def is_unit(vectors: np.ndarray) -> bool:
    return bool(np.isfinite(vectors).all() and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5))


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    result: np.ndarray = (a * b).sum(1)
    return result


@pytest.fixture(scope="module")
def base(exact) -> np.ndarray:
    vectors: np.ndarray = exact.encode([*TEXTS, *CODES], on_truncate="ignore")
    return vectors


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    paths = {"text": tmp_path / "moon.md", "code": tmp_path / "model.py", "image": tmp_path / "dots.png"}
    paths["text"].write_text("bright green moon", encoding="utf-8")
    paths["code"].write_text("catDog", encoding="utf-8")
    picture(1).save(paths["image"])
    return paths


# -- shape, length, order ----------------------------------------------------------------------------------


def test_an_empty_list_gives_no_rows_of_float32(exact):
    vectors = exact.encode([])
    assert vectors.shape == (0, 512)
    assert vectors.dtype == np.float32


@pytest.mark.parametrize(
    ("numbers", "dtype", "width"),
    [("float32", np.float32, 128), ("int8", np.int8, 128), ("binary", np.uint8, 16)],
)
def test_an_empty_list_keeps_the_asked_shape(exact, numbers, dtype, width):
    vectors = exact.encode([], task="query", dim=128, numbers=numbers)
    assert vectors.shape == (0, width)
    assert vectors.dtype == dtype


def test_base_vectors_are_float32_of_unit_length(base):
    assert base.shape == (len(TEXTS) + len(CODES), 512)
    assert base.dtype == np.float32
    assert is_unit(base)


def test_int8_graphs_give_unit_length_too(embedder):
    assert is_unit(embedder.encode([*TEXTS, *CODES, picture(0)], on_truncate="ignore"))


def test_different_items_get_different_vectors(exact):
    vectors = exact.encode(["cat", "dog", "the house", picture(0), picture(1)])
    likeness = vectors @ vectors.T - 2 * np.eye(5)
    assert likeness.max() < 0.9999


def test_a_mixed_list_keeps_its_order(exact, files):
    items = [
        picture(0),
        "cat",
        Code("catDog"),
        files["image"],
        "dog",
        files["code"],
        files["text"],
        picture(2),
    ]
    alone = np.concatenate([exact.encode([item]) for item in items])
    np.testing.assert_allclose(exact.encode(items), alone, atol=FP32)


def test_a_tuple_is_as_good_as_a_list(exact):
    np.testing.assert_array_equal(exact.encode(("cat", "dog")), exact.encode(["cat", "dog"]))


def test_the_order_of_items_does_not_change_a_vector(exact, base):
    items = [*TEXTS, *CODES]
    turned = exact.encode(items[::-1], on_truncate="ignore")[::-1]
    np.testing.assert_allclose(turned, base, atol=FP32)


def test_the_size_of_a_batch_does_not_change_a_vector(exact, base):
    alone = np.concatenate([exact.encode([item], on_truncate="ignore") for item in [*TEXTS, *CODES]])
    np.testing.assert_allclose(alone, base, atol=FP32)


def test_other_texts_do_not_move_an_int8_vector_at_all(embedder):
    alone = np.concatenate([embedder.encode([item], on_truncate="ignore") for item in TEXTS])
    assert np.array_equal(embedder.encode(TEXTS, on_truncate="ignore"), alone)


def test_int8_graphs_are_near_fp32_graphs(embedder, exact):
    near = cosine(embedder.encode(TEXTS, on_truncate="ignore"), exact.encode(TEXTS, on_truncate="ignore"))
    assert near.min() > INT8_COSINE


def test_more_pictures_than_a_batch_keep_their_order(exact):
    pictures = [picture(seed) for seed in range(19)]
    alone = np.concatenate([exact.encode([one]) for one in pictures])
    np.testing.assert_allclose(exact.encode(pictures), alone, atol=FP32)


@FUZZ
@given(st.lists(ANY_TEXT | ANY_TEXT.map(Code), min_size=1, max_size=6))
def test_any_texts_and_codes_keep_their_order(exact, items):
    alone = np.concatenate([exact.encode([item], on_truncate="ignore") for item in items])
    np.testing.assert_allclose(exact.encode(items, on_truncate="ignore"), alone, atol=FP32)


# -- threads -----------------------------------------------------------------------------------------------


def test_one_thread_and_four_give_the_same_vectors(bundle_folder):
    items = [*[f"{a} {b}" * 3 for a in "cat dog moon".split() for b in range(40)], *map(picture, range(20))]
    one, four = (unbraid.load(bundle_folder, threads=threads) for threads in (1, 4))
    np.testing.assert_array_equal(one.encode(items), four.encode(items))


def test_without_threads_every_core_of_the_process_is_used(bundle_folder):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    assert unbraid.load(bundle_folder).threads == cores


def test_many_callers_of_one_new_embedder_get_the_same_vectors(bundle_folder, exact):
    shared = unbraid.load(bundle_folder, threads=2, precision="fp32")
    work = [["cat", Code("catDog"), picture(seed), f"dog {seed} " * seed] for seed in range(8)]
    start = threading.Barrier(len(work))

    def call(items):
        start.wait()  # all at once, so that graphs are opened by several callers
        return [
            shared.encode(items, task=task, on_truncate="ignore") for task in (None, "query", "symmetric")
        ]

    with ThreadPoolExecutor(len(work)) as pool:
        results = list(pool.map(call, work))
    for items, vectors in zip(work, results, strict=True):
        for task, found in zip((None, "query", "symmetric"), vectors, strict=True):
            np.testing.assert_array_equal(found, exact.encode(items, task=task, on_truncate="ignore"))


def test_graphs_are_opened_when_they_are_first_needed(bundle_folder):
    fresh = unbraid.load(bundle_folder, threads=1)
    assert (fresh._texts, fresh._images, fresh._mappers) == ({}, None, {})
    fresh.encode(["cat"])
    assert (list(fresh._texts), fresh._images, fresh._mappers) == ([("small", "text")], None, {})


# -- tasks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_encoding_for_a_task_is_mapping_the_base_vectors(exact, base, task):
    found = exact.encode([*TEXTS, *CODES], task=task, on_truncate="ignore")
    np.testing.assert_array_equal(found, exact.map(base, task))


@pytest.mark.parametrize("task", TASKS)
def test_task_vectors_have_unit_length(exact, base, task):
    mapped = exact.map(base, task)
    assert mapped.dtype == np.float32
    assert is_unit(mapped)


@pytest.mark.parametrize("task", TASKS)
def test_mapping_no_vectors_gives_no_vectors(exact, task):
    mapped = exact.map(np.empty((0, 512), np.float32), task)
    assert mapped.shape == (0, 512)
    assert mapped.dtype == np.float32


@pytest.mark.parametrize("task", TASKS)
def test_the_matrix_of_a_task_reproduces_its_mapper(exact, base, task):
    folded = base @ exact.matrix(task).T
    folded /= np.linalg.norm(folded, axis=1, keepdims=True)
    np.testing.assert_allclose(folded, exact.map(base, task), atol=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_the_matrix_of_a_task_is_the_one_that_was_trained(exact, tiny, task):
    from unbraid.mappers import load_mapper

    trained = load_mapper(tiny.run / "mappers" / f"{task}.safetensors").matrix().detach().numpy()
    np.testing.assert_allclose(exact.matrix(task), trained, atol=5e-4)  # its parts are stored in float16


def test_folding_the_query_orders_documents_as_the_mappers_do(exact, base):
    query = exact.map(base[:1], "query")
    lengths = np.linalg.norm(base @ exact.matrix("document").T, axis=1)
    folded = base @ (exact.matrix("document").T @ query[0]) / lengths
    np.testing.assert_allclose(folded, exact.map(base, "document") @ query[0], atol=1e-5)


def test_tasks_differ(exact, base):
    vectors = [exact.map(base, task) for task in TASKS]
    for row, one in enumerate(vectors):
        for other in vectors[row + 1 :]:
            assert cosine(one, other).max() < 0.99


def test_base_vectors_stored_as_float64_can_be_mapped(exact, base):
    np.testing.assert_array_equal(exact.map(base.astype(np.float64), "query"), exact.map(base, "query"))


def test_mapping_does_not_change_the_base_vectors(exact, base):
    before = base.copy()
    exact.map(base, "query", dim=64, numbers="int8")
    np.testing.assert_array_equal(base, before)


@pytest.mark.parametrize("shape", [(512,), (3, 256), (0,), (2, 2, 512), (512, 1)])
def test_base_vectors_of_another_shape_are_refused_with_their_shape(exact, shape):
    with pytest.raises(ItemError, match=rf"shape \[{', '.join(map(str, shape))}\], expected \[n, 512\]"):
        exact.map(np.zeros(shape, np.float32), "query")


# -- dims and numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("task", [None, "query", "symmetric"])
def test_every_supported_dim_has_unit_length(exact, task, dim):
    vectors = exact.encode(TEXTS, task=task, dim=dim, on_truncate="ignore")
    assert vectors.shape == (len(TEXTS), dim)
    assert is_unit(vectors)


@pytest.mark.parametrize("dim", DIMS)
def test_map_cuts_like_encode(exact, base, dim):
    found = exact.map(base, "document", dim=dim, numbers="int8")
    expected = exact.encode([*TEXTS, *CODES], task="document", dim=dim, numbers="int8", on_truncate="ignore")
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("numbers", "dtype", "width"),
    [("float32", np.float32, 128), ("int8", np.int8, 128), ("binary", np.uint8, 16)],
)
def test_stored_vectors_have_their_type_and_width(exact, numbers, dtype, width):
    vectors = exact.encode(["cat"], task="document", dim=128, numbers=numbers)
    assert vectors.dtype == dtype
    assert vectors.shape == (1, width)


def test_int8_vectors_keep_the_cosine(exact, base):
    stored = exact.map(base, "query", numbers="int8").astype(np.float32)
    stored /= np.linalg.norm(stored, axis=1, keepdims=True)
    assert cosine(stored, exact.map(base, "query")).min() > 0.999


# -- wrong use ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "retrieval"}, "unknown task 'retrieval': .* has code, document, query, symmetric"),
        ({"task": ""}, "unknown task ''"),
        ({"dim": 100}, "dim 100 is not supported: expected one of 512, 256, 128, 64"),
        ({"dim": 0}, "dim 0 is not supported"),
        ({"dim": -64}, "dim -64 is not supported"),
        ({"numbers": "int4"}, "'int4' is not supported: expected one of float32, float16, int8, binary"),
        ({"on_truncate": "raise"}, "on_truncate is 'raise': expected 'warn', 'error' or 'ignore'"),
        ({"modality": "audio"}, "no encoder for 'audio'; it encodes text, code, image"),
        ({"modality": ""}, "no encoder for ''"),
    ],
)
def test_a_wrong_option_is_named_before_anything_is_encoded(exact, options, message, monkeypatch):
    monkeypatch.setattr(exact, "_encode_alike", lambda *_: pytest.fail("encoded"))
    with pytest.raises(ItemError, match=message):
        exact.encode(["cat"], **options)


@pytest.mark.parametrize("method", ["map", "matrix"])
def test_an_unknown_task_is_refused_by_map_and_matrix(exact, base, method):
    arguments = (base, "retrieval") if method == "map" else ("retrieval",)
    with pytest.raises(ItemError, match="unknown task 'retrieval'"):
        getattr(exact, method)(*arguments)


@pytest.mark.parametrize("options", [{"dim": 3}, {"dim": 0}, {"numbers": "bits"}])
def test_map_refuses_an_unknown_dim_or_numbers(exact, base, options):
    with pytest.raises(ItemError, match="is not supported"):
        exact.map(base, "query", **options)


@pytest.mark.parametrize("items", ["one text", Path("a.txt"), Code("x"), picture(0), b"bytes"])
def test_one_item_instead_of_a_list_is_refused(exact, items):
    with pytest.raises(ItemError, match=r"wrap it as \[item\]"):
        exact.encode(items)


@pytest.mark.parametrize("item", [b"bytes", None, 3, ["nested"], np.zeros((4, 4, 3))])
@pytest.mark.parametrize("modality", [None, "text", "code", "image"])
def test_an_item_of_another_type_is_refused_with_every_modality(exact, item, modality):
    with pytest.raises(ItemError, match="cannot"):
        exact.encode(["cat", item] if modality != "image" else [picture(0), item], modality=modality)


def test_a_str_as_image_is_told_to_be_a_path(exact):
    with pytest.raises(ItemError, match=r"cannot read 'cat\.png' as a picture: pass a pathlib\.Path"):
        exact.encode(["cat.png"], modality="image")


@pytest.mark.parametrize("modality", ["text", "code"])
def test_a_picture_as_text_is_refused(exact, modality):
    with pytest.raises(ItemError, match=f"cannot encode Image as {modality}"):
        exact.encode([picture(0)], modality=modality)


def test_a_bundle_without_images_says_what_it_encodes(bundle_folder, files):
    import dataclasses

    bundle = dataclasses.replace(read_bundle(bundle_folder), image=None)
    with pytest.raises(ItemError, match="has no encoder for 'image'; it encodes text, code"):
        unbraid.Embedder(bundle).encode([files["image"]])


# -- over-long text ----------------------------------------------------------------------------------------


def test_over_long_texts_are_counted_in_a_warning(exact):
    with pytest.warns(UserWarning, match="2 of 3 items are longer than 24 tokens"):
        exact.encode(["cat " * 99, "cat", "dog " * 99])


def test_the_warning_points_at_the_caller(exact):
    with pytest.warns(UserWarning) as caught:
        exact.encode(["cat " * 99])
    assert [Path(warning.filename).name for warning in caught] == ["test_embedder.py"]


def test_over_long_text_is_an_error_when_asked_for(exact):
    with pytest.raises(ItemError, match="1 of 2 items are longer than 24 tokens"):
        exact.encode(["cat", "cat " * 99], on_truncate="error")


def test_over_long_text_can_be_cut_in_silence(exact):  # warnings are errors here
    exact.encode(["cat " * 99], on_truncate="ignore")


def test_over_long_text_gets_the_vector_of_its_beginning(exact):
    found = exact.encode(["cat " * 99, "cat " * 22], on_truncate="ignore")
    np.testing.assert_allclose(found[0], found[1], atol=FP32)


@pytest.mark.parametrize("on_truncate", ["warn", "error", "ignore"])
def test_text_that_fits_is_never_reported(exact, on_truncate):
    exact.encode(["cat " * 22, Code("x"), picture(0)], on_truncate=on_truncate)


# -- bad texts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t ",
        "\0",
        "cat\0dog",
        "\ud800",
        "cat \udfff\udfff dog",
        "\ufeff\u200b\u200d",
        "\u202eشالوم עולם مرحبا بالعالم",
        "👩‍👩‍👧‍👦🏳️‍🌈" * 30,
        "e" + "\u0301" * 5000,
        "漢字かな交じり文" * 20,
        "x" * 100_000,
        "\x7f\x1b[31m\x85",
        "\U0010ffff",
        "cat " * 250_000,
        "\n" * 1_000_000,
    ],
    ids=lambda text: ascii(text[:12]),
)
@pytest.mark.parametrize("kind", [str, Code])
def test_any_text_gets_a_finite_unit_vector(embedder, text, kind):
    assert is_unit(embedder.encode([kind(text)], on_truncate="ignore"))


@FUZZ
@given(ANY_TEXT, st.sampled_from([None, *TASKS]))
def test_fuzzed_text_gets_a_finite_unit_vector(embedder, text, task):
    assert is_unit(embedder.encode([text, Code(text)], task=task, on_truncate="ignore"))


def test_a_bad_text_does_not_change_its_neighbours(exact):
    found = exact.encode(["cat", "\ud800\0", "dog"])
    np.testing.assert_allclose(found[[0, 2]], exact.encode(["cat", "dog"]), atol=FP32)


# -- files and pictures ------------------------------------------------------------------------------------


def test_a_text_file_is_encoded_as_its_content(exact, files):
    np.testing.assert_array_equal(exact.encode([files["text"]]), exact.encode(["bright green moon"]))


def test_a_code_file_is_encoded_as_code(exact, files):
    np.testing.assert_array_equal(exact.encode([files["code"]]), exact.encode([Code("catDog")]))
    assert cosine(exact.encode([files["code"]]), exact.encode(["catDog"]))[0] < 0.999


def test_an_image_file_is_encoded_as_the_picture_in_it(exact, files):
    np.testing.assert_array_equal(exact.encode([files["image"]]), exact.encode([picture(1)]))


def test_a_picture_is_what_torch_computes(exact, tiny):
    import torch

    from unbraid.base_encoders.image_encoder import load_image_encoder

    encoder = load_image_encoder(tiny.run / "image")
    with torch.inference_mode():
        expected = encoder(torch.from_numpy(encoder.preprocess.load(picture(3)))[None])
    # The limit of the export's parity check; 1e-7 is usual.
    np.testing.assert_allclose(exact.encode([picture(3)]), expected, atol=1e-4)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I", "F"])
def test_a_picture_of_any_mode_gets_a_unit_vector(exact, mode):
    assert is_unit(exact.encode([picture(0).convert("L").convert(mode)]))


def test_a_picture_of_one_pixel_gets_a_unit_vector(exact):
    assert is_unit(exact.encode([Image.new("RGB", (1, 1), "red")]))


@pytest.mark.parametrize("modality", ["text", "code"])
def test_the_modality_overrides_the_type(exact, modality):
    kind = Code if modality == "code" else str
    expected = exact.encode([kind("catDog"), kind("a dog")])
    np.testing.assert_array_equal(exact.encode(["catDog", Code("a dog")], modality=modality), expected)


def test_the_modality_overrides_the_suffix(exact, files):
    np.testing.assert_array_equal(exact.encode([files["code"]], modality="text"), exact.encode(["catDog"]))


def test_a_picture_without_a_suffix_can_be_encoded_as_image(exact, files):
    plain = files["image"].rename(files["image"].with_suffix(""))
    np.testing.assert_array_equal(exact.encode([plain], modality="image"), exact.encode([picture(1)]))


@pytest.mark.parametrize("name", ["gone.txt", "gone.py", "gone.png"])
def test_a_missing_file_is_named(exact, tmp_path, name):
    with pytest.raises(ItemError, match=name.replace(".", r"\.")):
        exact.encode(["cat", tmp_path / name])


@pytest.mark.parametrize("name", ["folder", "folder.py", "folder.png"])
def test_a_directory_is_refused_by_name(exact, tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(ItemError, match=name):
        exact.encode([tmp_path / name])


@pytest.mark.parametrize("name", ["latin.txt", "latin.py"])
def test_a_file_that_is_not_utf8_is_refused_by_name(exact, tmp_path, name):
    (tmp_path / name).write_bytes("Grüße".encode("latin-1"))
    with pytest.raises(ItemError, match=rf"{name}: cannot be read as .*utf-8"):
        exact.encode([tmp_path / name])


def test_a_path_with_a_nul_byte_is_an_item_error(exact):
    with pytest.raises(ItemError, match="cannot be read as text"):
        exact.encode([Path("a\0b.txt")])


def test_a_broken_picture_among_good_ones_is_named(exact, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n garbage")
    with pytest.raises(ImageError, match=r"broken\.png"):
        exact.encode([picture(0), broken, *map(picture, range(20))])


# -- what the embedder says of itself ----------------------------------------------------------------------


def test_the_embedder_tells_what_its_bundle_can_do(embedder):
    assert embedder.name == f"starter {embedder.bundle.version}"
    assert embedder.dim == 512
    assert embedder.tasks == ("code", "document", "query", "symmetric")
    assert embedder.modalities == ("text", "code", "image")
    assert embedder.search_modes["retrieval"] == ("query", "document")
    assert embedder.base_id == embedder.bundle.base_id


def test_a_graph_damaged_after_loading_is_refused_by_name(bundle_copy):
    late = unbraid.load(bundle_copy, threads=1)
    (bundle_copy / "text.int8.onnx").write_bytes(b"garbage")
    with pytest.raises(BundleError, match=r"text\.int8\.onnx"):
        late.encode(["cat"])


def test_text_and_code_of_one_graph_open_it_once(embedder):
    embedder.encode(["cat", Code("cat")])
    text, code = embedder._texts["small", "text"], embedder._texts["small", "code"]
    assert text.session is code.session
    assert (text.spec.split_identifiers, code.spec.split_identifiers) == (False, True)


# -- tiers -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nano(bundle_folder) -> unbraid.Embedder:
    return unbraid.load(bundle_folder, threads=1, precision="fp32", tier="nano")


def test_tiers_share_the_base_space_and_differ_in_text_and_code(nano, exact):
    items = ["cat", Code("catDog"), picture(0)]
    assert (nano.base_id, nano.tier, exact.tier) == (exact.base_id, "nano", "small")
    ours, theirs = nano.encode(items), exact.encode(items)
    assert is_unit(ours)
    assert (cosine(ours, theirs)[:2] < 0.9).all()
    np.testing.assert_array_equal(ours[2], theirs[2])


def test_a_nano_vector_is_what_torch_computes(nano, tiny):
    import torch

    from unbraid.base_encoders.static_encoder import load_static_encoder

    encoder = load_static_encoder(tiny.run / "nano")
    ids, _ = nano._text_runtime("text").tokenize(TEXTS)
    with torch.inference_mode():
        expected = [encoder(torch.tensor([one]), torch.ones(1, len(one), dtype=torch.long)) for one in ids]
    np.testing.assert_allclose(nano.encode(TEXTS, on_truncate="ignore"), torch.cat(expected), atol=FP32)


def test_the_batch_does_not_move_an_int8_nano_vector(bundle_folder):
    model = unbraid.load(bundle_folder, threads=1, tier="nano")
    alone = np.concatenate([model.encode([item], on_truncate="ignore") for item in TEXTS])
    np.testing.assert_allclose(model.encode(TEXTS, on_truncate="ignore"), alone, atol=FP32)


def test_mappers_are_the_same_in_every_tier(nano, exact, base):
    np.testing.assert_array_equal(nano.map(base, "query"), exact.map(base, "query"))


def test_code_is_read_with_its_names_split_in_every_tier(nano):
    np.testing.assert_allclose(
        nano.encode([Code("returnModel(catDog)")]), nano.encode(["return Model(cat Dog)"]), atol=FP32
    )


def test_a_tier_that_a_bundle_lacks_is_refused_with_those_it_has(bundle_folder):
    with pytest.raises(BundleError, match=r"has no tier 'pico'; it has small, nano"):
        unbraid.load(bundle_folder, tier="pico")


@pytest.mark.parametrize(("first", "second"), [("small", "nano"), ("nano", "small")])
def test_an_index_of_one_tier_is_searched_and_updated_with_the_other(bundle_folder, tmp_path, first, second):
    made, other = (unbraid.load(bundle_folder, threads=1, tier=tier) for tier in (first, second))
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "moon.md").write_text("bright green moon")
    with unbraid.open_index(tmp_path / "ix", model=made) as index:
        assert index.add(notes).added == 1
    (notes / "cat.md").write_text("the cat is in the house")
    with unbraid.open_index(tmp_path / "ix", model=other) as index:
        report = index.add(notes)
        assert (report.added, report.unchanged) == (1, 1)
        hits = index.search("the cat is in the house", mode="symmetric")
    scores = {Path(hit.path).name: hit.cosine for hit in hits}
    assert scores["cat.md"] == pytest.approx(1, abs=1e-3)  # of the tier that asks
    # and the one that the other tier has encoded is compared by its own vector
    asked, found = other.encode(["the cat is in the house"]), made.encode(["bright green moon"])
    expected = cosine(other.map(asked, "symmetric"), other.map(found, "symmetric"))[0]
    assert scores["moon.md"] == pytest.approx(expected, abs=1e-3)


# -- what may be given, and where it may go ----------------------------------------------------------------


def test_a_list_may_be_an_array_a_column_or_a_generator(exact):
    class Column:  # as pandas' Series, which is not installed everywhere
        ndim = 1

        def __iter__(self):
            return iter(TEXTS)

    wanted = exact.encode(TEXTS)
    for given_ in (
        np.array(TEXTS),
        np.array(TEXTS, object),
        tuple(TEXTS),
        iter(TEXTS),
        (one for one in TEXTS),
        Column(),
    ):
        np.testing.assert_array_equal(exact.encode(given_), wanted)
    assert len(exact.route(iter(TEXTS))) == len(TEXTS)


@pytest.mark.parametrize("items", [{"a": "b"}, {"a", "b"}, np.array([["a"]]), 5, None])
def test_what_has_no_order_is_no_list_of_items(exact, items):
    with pytest.raises(ItemError, match="encode takes a list of items"):
        exact.encode(items)


def test_an_error_names_the_position_of_the_item(exact, tmp_path):
    with pytest.raises(ItemError, match="^item 2: cannot encode float"):
        exact.encode(["a", "b", float("nan")])
    with pytest.raises(ItemError, match="^item 1: .*none.txt"):
        exact.encode(["a", tmp_path / "none.txt"])
    with pytest.raises(ItemError, match="^item 0: cannot read 'a' as a picture"):
        exact.encode(["a"], modality="image")


def test_a_used_embedder_is_pickled_and_copied(exact):
    wanted = exact.encode(TEXTS, task="query")
    for other in (pickle.loads(pickle.dumps(exact)), copy.deepcopy(exact), copy.copy(exact)):
        np.testing.assert_array_equal(other.encode(TEXTS, task="query"), wanted)


def test_it_says_what_it_is(exact):
    assert repr(exact).startswith(f"<Embedder {exact.name}: text, code, image in 512 dimensions; tiers ")


def test_vectors_that_are_not_finite_are_not_mapped(exact, base):
    broken = base.copy()
    broken[3, 5] = np.nan
    with pytest.raises(ItemError, match="base vector 3 holds numbers that are not finite"):
        exact.map(broken, "query")


def test_tokens_are_counted_whole_and_without_special_ones(exact):
    counts = exact.count_tokens(["", "the cat", "the cat " * 1000])
    assert counts[:2] == [0, 2] and counts[2] == 2000
    assert 0 < exact.max_tokens < 2000
