import contextlib
import copy
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import unbraid
from unbraid.bundle import FORMAT, MANIFEST, Bundle, manifest_hash, read_bundle, verify_file
from unbraid.errors import BundleError
from unbraid.items import Code

GRAPH = "text.fp32.onnx"
FILES = (  # one of every kind
    "text.int8.onnx",
    "text.fp32.onnx",
    "text.multi_vector.int8.onnx",
    "text.multi_vector.fp32.onnx",
    "nano.int8.onnx",
    "nano.fp32.onnx",
    "image.fp32.onnx",
    "query.mapper.fp32.onnx",
    "query.mapper.int8.onnx",
    "tokenizer.json",
    "parity.json",
    "README.md",
)


def manifest_of(folder: Path) -> dict[str, Any]:
    about: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    return about


def write_manifest(folder: Path, about: Any) -> None:
    """Write it with its own hash right, as whoever tampers with a bundle would."""
    if isinstance(about, dict):
        about["sha256"] = manifest_hash(about)
    (folder / MANIFEST).write_text(json.dumps(about))


@contextlib.contextmanager
def changed(folder: Path) -> Iterator[dict[str, Any]]:
    """The manifest, written back when the block is left."""
    about = manifest_of(folder)
    yield about
    write_manifest(folder, about)


def entry(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def rehash(folder: Path, name: str) -> None:
    """Make the manifest agree with the file, as whoever tampers with a bundle would."""
    with changed(folder) as about:
        about["files"][name] = entry((folder / name).read_bytes())


def field(tag: int, content: bytes) -> bytes:
    """A protobuf field of bytes; `tag` is field number times 8 plus 2."""
    length, size = len(content), b""
    while length > 127:
        size += bytes([length & 127 | 128])
        length >>= 7
    return bytes([tag]) + size + bytes([length]) + content


# -- a good bundle -----------------------------------------------------------------------------------------


def test_a_good_bundle_says_what_its_manifest_says(bundle_folder):
    bundle, about = read_bundle(bundle_folder), manifest_of(bundle_folder)
    assert (bundle.name, bundle.version, bundle.id, bundle.base_id) == tuple(
        about[key] for key in ("name", "version", "id", "base_id")
    )
    assert bundle.dims == (512, 256, 128, 64)
    assert bundle.modalities == ("text", "code", "image")
    assert set(bundle.mappers) == {"query", "document", "symmetric", "code"}
    assert bundle.text["code"].split_identifiers and not bundle.text["text"].split_identifiers
    assert bundle.image is not None and bundle.image.preprocess.size == 32


def test_every_file_of_a_bundle_is_hashed(bundle_folder):
    on_disk = {path.name for path in bundle_folder.iterdir()} - {MANIFEST}
    assert set(manifest_of(bundle_folder)["files"]) == on_disk == set(read_bundle(bundle_folder).sizes)


def test_every_kind_of_file_is_damaged_here(bundle_folder):
    def kind(name: str) -> str:
        return name if ".mapper." not in name else name.partition(".")[2]

    assert {kind(name) for name in manifest_of(bundle_folder)["files"]} == {kind(name) for name in FILES}


def test_a_bundle_names_its_tiers_and_their_graphs(bundle_folder):
    bundle = read_bundle(bundle_folder)
    assert list(bundle.tiers) == ["small", "nano"]
    assert bundle.text is bundle.tiers["small"]
    assert set(bundle.tiers["nano"]) == {"text", "code"} and bundle.tiers["nano"]["code"].split_identifiers
    assert bundle.graphs["nano text"] == {"int8": "nano.int8.onnx", "fp32": "nano.fp32.onnx"}
    assert bundle.graphs["text"] == {"int8": "text.int8.onnx", "fp32": "text.fp32.onnx"}


def test_a_bundle_of_before_there_were_tiers_has_one(bundle_copy):
    with changed(bundle_copy) as about:
        del about["tiers"]
        for spec in about["modalities"].values():
            spec.pop("batch_tokens", None)
    bundle = read_bundle(bundle_copy)
    assert list(bundle.tiers) == ["small"]
    assert bundle.text["text"].batch_tokens == 1


def test_a_bundle_can_be_moved(bundle_copy, tmp_path, embedder):
    moved = bundle_copy.rename(tmp_path / "elsewhere")
    found = unbraid.load(moved, threads=1).encode(["cat"])
    np.testing.assert_array_equal(found, embedder.encode(["cat"]))


def test_a_bundle_behind_a_link_is_read(bundle_folder, tmp_path):
    (tmp_path / "link").symlink_to(bundle_folder)
    assert read_bundle(tmp_path / "link").dim == 512


def test_a_file_that_the_manifest_does_not_name_is_left_alone(bundle_copy):
    (bundle_copy / "notes.txt").write_text("mine")
    assert "notes.txt" not in read_bundle(bundle_copy).sizes


def test_a_bundle_without_images_is_a_bundle(bundle_copy):
    with changed(bundle_copy) as about:
        del about["modalities"]["image"]
    assert read_bundle(bundle_copy).modalities == ("text", "code")


# -- damaged files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_missing_file_is_named(bundle_copy, name):
    (bundle_copy / name).unlink()
    with pytest.raises(BundleError, match=f"{name}: cannot be read"):
        read_bundle(bundle_copy)


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_found_and_the_file_named(bundle_copy, name, place):
    content = bytearray((bundle_copy / name).read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    (bundle_copy / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"{name}: damaged"):
        read_bundle(bundle_copy)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_truncated_file_is_named(bundle_copy, name, share):
    content = (bundle_copy / name).read_bytes()
    (bundle_copy / name).write_bytes(content[: int(share * len(content))])
    with pytest.raises(BundleError, match=f"{name}: (damaged|not valid JSON)"):
        read_bundle(bundle_copy)


@pytest.mark.parametrize("name", FILES)
def test_a_longer_file_is_named(bundle_copy, name):
    with (bundle_copy / name).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(BundleError, match=f"{name}: damaged"):
        read_bundle(bundle_copy)


@pytest.mark.parametrize("name", FILES)
def test_a_directory_in_place_of_a_file_is_named(bundle_copy, name):
    (bundle_copy / name).unlink()
    (bundle_copy / name).mkdir()
    with pytest.raises(BundleError, match=f"{name}: cannot be read"):
        read_bundle(bundle_copy)


def test_a_wrong_size_with_the_right_hash_is_refused(bundle_copy):
    with changed(bundle_copy) as about:
        about["files"]["README.md"]["bytes"] += 1
    with pytest.raises(BundleError, match=r"README\.md: damaged"):
        read_bundle(bundle_copy)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_an_unreadable_file_is_named(bundle_copy):
    (bundle_copy / GRAPH).chmod(0)
    with pytest.raises(BundleError, match=f"{GRAPH}: cannot be read"):
        read_bundle(bundle_copy)


# -- bundle.json -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, FORMAT + 1, -1, None, "1", "x" * 50, [FORMAT], {}])
def test_an_unknown_format_is_refused_and_shown(bundle_copy, number):
    with changed(bundle_copy) as about:
        about["format"] = number
    with pytest.raises(BundleError) as refusal:
        read_bundle(bundle_copy)
    assert f"{MANIFEST}: format {number!r} is not known" in str(refusal.value)


def test_the_format_is_looked_at_before_anything_else(bundle_copy):
    write_manifest(bundle_copy, {"format": FORMAT + 1, "whatever": "a later version may hold"})
    with pytest.raises(BundleError, match="upgrade unbraid"):
        read_bundle(bundle_copy)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\0\0\0",
        b"\xff\xfe{}",
        b"\x80\x81",
        b"[]",
        b"null",
        b"7",
        b'"text"',
        b"{}",
        b'{"format": 1}',
        b'{"format": NaN}',
        b"[" * 200_000,
        b'{"format": ' + b"1" * 5000 + b"}",
    ],
    ids=lambda content: repr(content[:16]),
)
def test_a_manifest_of_garbage_is_refused_by_name(tmp_path, content):
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(BundleError, match=r"bundle\.json"):
        read_bundle(tmp_path)


@pytest.mark.parametrize(
    "key",
    "name version id base_id dim dims modalities mappers search_modes licences scores files".split(),
)
@pytest.mark.parametrize("value", ["absent", None, 3, [3]])
def test_an_entry_that_is_absent_or_malformed_is_refused(bundle_copy, key, value):
    about = manifest_of(bundle_copy)
    if value == "absent":
        del about[key]
    else:
        about[key] = value
    write_manifest(bundle_copy, about)
    if key in ("name", "version", "id", "base_id") and value != "absent":
        read_bundle(bundle_copy)  # shown or compared as text, whatever they are
    else:
        with pytest.raises(BundleError, match=r"bundle\.json: entry missing or malformed"):
            read_bundle(bundle_copy)


def set_in(*keys: str, to: Any) -> Callable[[dict[str, Any]], None]:
    """A change of one value deep in the manifest."""

    def change(about: dict[str, Any]) -> None:
        for key in keys[:-1]:
            about = about[key]
        about[keys[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_in("dim", to=0), "dims are"),
        (set_in("dim", to=511), "dims are"),
        (set_in("dims", to=[]), "dims are"),
        (set_in("dims", to=[512, 0]), "dims are"),
        (set_in("dims", to=[512, 1024]), "dims are"),
        (set_in("dim", to=float("inf")), "malformed"),
        (set_in("dim", to=float("nan")), "malformed"),
        (set_in("modalities", "text", "max_tokens", to=0), "max_tokens of text is 0"),
        (set_in("modalities", "text", "max_tokens", to=2**70), "max_tokens of text"),
        (set_in("modalities", "text", "batch_tokens", to=0), "batch_tokens of text is 0"),
        (set_in("tiers", "nano", "text", "batch_tokens", to=2**70), "batch_tokens of text"),
        (set_in("tiers", "nano", "code", "max_tokens", to=1), "max_tokens of code is 1"),
        (set_in("tiers", "nano", "text", "graphs", to={}), "precisions"),
        (set_in("tiers", "nano", "text", "graphs", to={"int8": "README.md"}), "onnx"),
        (set_in("tiers", "nano", "text", "tokenizer", to="README.txt"), r"README\.txt"),
        (set_in("tiers", "nano", to={}), r"tier nano encodes \[\], expected"),
        (set_in("tiers", "nano", to=3), "malformed"),
        (set_in("tiers", "small", to={}), "small"),
        (set_in("tiers", to=[3]), "malformed"),
        (set_in("modalities", "text", "graphs", to={}), "precisions"),
        (set_in("modalities", "text", "multi_vector", "dim", to=7), "head of text has .* dim 7"),
        (set_in("modalities", "text", "multi_vector", "graphs", to={"int8": "README.md"}), "onnx"),
        (set_in("modalities", "text", "multi_vector", to={"dim": 8}), "malformed"),
        (set_in("modalities", "text", "graphs", to={"fp16": GRAPH}), "fp16"),
        (set_in("modalities", "text", "graphs", "fp32", to=["a", "b"]), "onnx"),
        (set_in("modalities", "text", "tokenizer", to="README.txt"), r"README\.txt"),
        (set_in("modalities", "audio", to={}), "malformed"),
        (set_in("modalities", "image", "size", to=0), "size"),
        (
            set_in(
                "modalities",
                "image",
                "preprocess",
                to={"size": 32, "mean": [0.5] * 3, "std": [0.5] * 3, "method": "crop", "resize": 65_535},
            ),
            "expected 32 .* 128",
        ),
        (set_in("modalities", "image", "mean", to=[0.5, 0.5]), "three numbers"),
        (set_in("modalities", "image", "mean", to=[0.5, 0.5, float("nan")]), "three numbers"),
        (set_in("modalities", "image", "std", to=[0.5, 0.5, 0]), "std above 0"),
        (set_in("search_modes", "odd", to=["query", "unheard"]), "tasks without a mapper.*unheard"),
        (set_in("search_modes", "odd", to=["query"]), "malformed"),
        (set_in("files", GRAPH, to={"bytes": 1}), "sha256"),
    ],
)
def test_a_value_that_no_bundle_can_have_is_refused(bundle_copy, change, message):
    with changed(bundle_copy) as about:
        change(about)
    with pytest.raises(BundleError, match=rf"bundle\.json: .*{message}"):
        read_bundle(bundle_copy)


def test_a_modality_of_another_name_is_refused(bundle_copy):
    with changed(bundle_copy) as about:
        about["modalities"]["audio"] = about["modalities"]["text"]
    with pytest.raises(BundleError, match=r"bundle\.json: .*audio"):
        read_bundle(bundle_copy)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in nested lists and dictionaries."""
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-1, 1 << 64)
    | st.floats()  # Python writes and reads NaN and Infinity
    | st.text(st.characters(exclude_categories=()), max_size=8)
    | st.sampled_from(["../x", "/etc/passwd", ".", "", "text.fp32.onnx", "a\0b", "\ud800.onnx", MANIFEST]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def fuzzed(bundle_folder, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz") / "bundle"
    shutil.copytree(bundle_folder, folder)
    return folder


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_manifest_with_any_values_is_loaded_or_refused(fuzzed, bundle_folder, data):
    about = copy.deepcopy(manifest_of(bundle_folder))
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(list(places(about)) or [("format",)]))
        parent: Any = about
        for key in path[:-1]:
            parent = parent[key]
        if data.draw(st.booleans()):
            parent[path[-1]] = data.draw(JSON_VALUES)
        else:
            del parent[path[-1]]
    write_manifest(fuzzed, about)
    try:
        assert isinstance(read_bundle(fuzzed), Bundle)
    except BundleError as refusal:
        assert str(fuzzed) in str(refusal)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=4), st.floats(0, 1))
def test_a_manifest_with_any_bytes_is_loaded_or_refused(fuzzed, bundle_folder, content, place):
    whole = (bundle_folder / MANIFEST).read_bytes()
    start = int(place * len(whole))
    (fuzzed / MANIFEST).write_bytes(whole[:start] + content + whole[start + len(content) :])
    with contextlib.suppress(BundleError):
        assert isinstance(read_bundle(fuzzed), Bundle)


# -- paths that leave the folder ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../outside.txt", "a/../../outside.txt", "..", "/etc/hostname", "..\\outside.txt", "C:\\x", "/"]
)
def test_a_name_that_leaves_the_folder_is_refused(bundle_copy, name):
    outside = bundle_copy.parent / "outside.txt"
    outside.write_text("secret")
    with changed(bundle_copy) as about:
        about["files"][name] = entry(b"secret")
    with pytest.raises(BundleError) as refusal:
        read_bundle(bundle_copy)
    assert f"{MANIFEST}: file {name!r} leaves the bundle folder" in str(refusal.value)


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "new\nline", "\x1b[31m"])
def test_a_name_that_cannot_be_printed_is_refused(bundle_copy, name):
    with changed(bundle_copy) as about:
        about["files"][name] = entry(b"")
    with pytest.raises(BundleError) as refusal:
        read_bundle(bundle_copy)
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize("name", ["", ".", "x" * 5000])
def test_a_name_that_is_no_file_is_refused(bundle_copy, name):
    with changed(bundle_copy) as about:
        about["files"][name] = entry(b"")
    with pytest.raises(BundleError, match="cannot be read"):
        read_bundle(bundle_copy)


def test_a_graph_outside_the_folder_is_refused(bundle_copy):
    (bundle_copy / GRAPH).rename(bundle_copy.parent / GRAPH)
    with changed(bundle_copy) as about:
        about["files"][f"../{GRAPH}"] = about["files"].pop(GRAPH)
        for modality in ("text", "code"):
            about["modalities"][modality]["graphs"]["fp32"] = f"../{GRAPH}"
    with pytest.raises(BundleError, match=rf"'\.\./{GRAPH}' leaves the bundle folder"):
        read_bundle(bundle_copy)


@pytest.mark.parametrize("absolute", [True, False])
def test_a_link_that_leaves_the_folder_is_refused(bundle_copy, absolute):
    outside = (bundle_copy / GRAPH).rename(bundle_copy.parent / "outside.onnx")
    (bundle_copy / GRAPH).symlink_to(outside if absolute else Path("../outside.onnx"))
    with pytest.raises(BundleError, match=f"{GRAPH}: a link that leaves the bundle folder"):
        read_bundle(bundle_copy)


def test_a_folder_that_is_a_link_to_outside_is_refused(bundle_copy):
    (bundle_copy.parent / "outside").mkdir()
    (bundle_copy.parent / "outside" / "x.txt").write_text("x")
    (bundle_copy / "inner").symlink_to("../outside")
    with changed(bundle_copy) as about:
        about["files"]["inner/x.txt"] = entry(b"x")
    with pytest.raises(BundleError, match=r"inner/x\.txt: a link that leaves"):
        read_bundle(bundle_copy)


def test_a_link_within_the_folder_is_followed(bundle_copy):
    (bundle_copy / GRAPH).rename(bundle_copy / "real.onnx")
    (bundle_copy / GRAPH).symlink_to("real.onnx")
    assert read_bundle(bundle_copy).dim == 512


def test_links_in_a_circle_are_refused(bundle_copy):
    (bundle_copy / GRAPH).unlink()
    (bundle_copy / GRAPH).symlink_to(GRAPH)
    with pytest.raises(BundleError, match=f"{GRAPH}: "):
        read_bundle(bundle_copy)


def test_a_file_in_a_folder_of_the_bundle_is_fine(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "x.txt").write_bytes(b"x")
    about = entry(b"x")
    verify_file(tmp_path, "inner/x.txt", about["sha256"], about["bytes"])


# -- graphs ------------------------------------------------------------------------------------------------


def test_a_graph_that_is_not_hashed_is_refused(bundle_copy):
    with changed(bundle_copy) as about:
        del about["files"][GRAPH]
    with pytest.raises(BundleError, match=f"{GRAPH}' is used but has no sha256"):
        read_bundle(bundle_copy)


def test_a_tokenizer_that_is_not_hashed_is_refused(bundle_copy):
    with changed(bundle_copy) as about:
        del about["files"]["tokenizer.json"]
    with pytest.raises(BundleError, match=r"tokenizer\.json' is used but has no sha256"):
        read_bundle(bundle_copy)


def test_weights_in_another_file_are_refused(bundle_copy):
    model = onnx.load(bundle_copy / GRAPH)
    onnx.save(
        model, bundle_copy / GRAPH, save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    rehash(bundle_copy, GRAPH)
    rehash(bundle_copy, "weights.bin")
    with pytest.raises(BundleError, match=f"{GRAPH}: keeps weights in another file"):
        read_bundle(bundle_copy)


@pytest.mark.parametrize(
    "head", [b"\x0a\x08", b"\x0a\x88\x00", b"\x8a\x00\x08", b"\x8a\x80\x00\x88\x80\x80\x00"]
)
def test_weights_in_another_file_are_found_however_they_are_written(tmp_path, monkeypatch, head):
    # A varint may be padded with zeros: onnxruntime reads all of these, shown first.
    kind = onnx.TensorProto.FLOAT
    x, y = (onnx.helper.make_tensor_value_info(name, kind, [2]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y])
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    weights = onnx.TensorProto(name="w", dims=[2], data_type=kind, data_location=onnx.TensorProto.EXTERNAL)
    place = field(0x6A, head + b"location" + field(0x12, b"weights.bin"))
    content = model + field(0x3A, field(0x2A, weights.SerializeToString() + place))
    (tmp_path / "some.onnx").write_bytes(content)
    np.array([5, 7], np.float32).tofile(tmp_path / "weights.bin")
    session = onnxruntime.InferenceSession(tmp_path / "some.onnx")
    assert session.run(None, {"x": np.zeros(2, np.float32)})[0].tolist() == [5, 7]

    about = entry(content)
    with pytest.raises(BundleError, match=r"some\.onnx: keeps weights in another file"):
        verify_file(tmp_path, "some.onnx", about["sha256"], about["bytes"])


def test_a_graph_by_another_suffix_is_refused(bundle_copy):  # else it would not be searched for external data
    (bundle_copy / GRAPH).rename(bundle_copy / "text.bin")
    with changed(bundle_copy) as about:
        about["files"]["text.bin"] = about["files"].pop(GRAPH)
        for modality in ("text", "code"):
            about["modalities"][modality]["graphs"]["fp32"] = "text.bin"
    with pytest.raises(BundleError, match=r"text\.bin' is not an \.onnx file"):
        read_bundle(bundle_copy)


@pytest.mark.parametrize(
    ("name", "item", "task"),
    [
        ("text.int8.onnx", "cat", None),
        ("text.int8.onnx", Code("cat"), None),
        ("query.mapper.fp32.onnx", "cat", "query"),
        ("tokenizer.json", "cat", None),
    ],
)
@pytest.mark.parametrize("content", [b"", b"garbage", b"\0" * 100], ids=["empty", "words", "zeros"])
def test_garbage_with_a_fitting_hash_is_refused_when_it_is_opened(bundle_copy, name, item, task, content):
    (bundle_copy / name).write_bytes(content)
    rehash(bundle_copy, name)
    embedder = unbraid.load(bundle_copy, threads=1)
    with pytest.raises(BundleError, match=name):
        embedder.encode([item], task=task)


def test_a_changed_number_in_the_manifest_is_noticed(bundle_copy: Path) -> None:
    manifest = bundle_copy / "bundle.json"
    about = json.loads(manifest.read_text())
    about["modalities"]["image"]["mean"][0] += 0.1
    manifest.write_text(json.dumps(about))
    with pytest.raises(BundleError, match="bundle.json: damaged"):
        read_bundle(bundle_copy)


def test_a_manifest_that_disagrees_with_its_graph_is_refused(bundle_copy: Path) -> None:
    manifest = bundle_copy / "bundle.json"
    about = json.loads(manifest.read_text())
    about["modalities"]["image"]["size"] *= 2
    about["sha256"] = manifest_hash(about)
    manifest.write_text(json.dumps(about))
    with pytest.raises(BundleError, match=r"image.fp32.onnx: takes .*32.*expected .*64"):
        unbraid.load(bundle_copy).encode([Image.new("RGB", (8, 8))])
