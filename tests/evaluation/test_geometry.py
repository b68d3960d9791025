"""The geometry of a text-and-picture space: measures, the pairs they are taken on, and `unbraid analyse`."""

import json
import sys
import tarfile
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import mannwhitneyu
from sklearn.metrics import roc_auc_score

from unbraid.cli import main as cli
from unbraid.errors import DataError
from unbraid.evaluation.geometry.captioned_pairs import read_captioned
from unbraid.evaluation.geometry.measures import (
    EDGES,
    auroc,
    centred,
    centroid_gap,
    centroid_gap_by_chance,
    effective_rank,
    geometry,
    matched,
    recall,
    unmatched,
)
from unbraid.vectors import normalize

seeds = st.integers(0, 2**32 - 1)


def rotation(dim, seed):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))[0].astype(np.float32)


# -- measures ------------------------------------------------------------------------------------------------


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=9), st.lists(st.integers(0, 5), min_size=1, max_size=9)
)
@settings(max_examples=30, deadline=None)
def test_auroc_agrees_with_two_other_implementations_with_ties(above, below):
    found = auroc(np.array(above, float), np.array(below, float))
    truth = [1] * len(above) + [0] * len(below)
    assert found == pytest.approx(roc_auc_score(truth, above + below))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the p-value of numbers that are all equal
        assert found == pytest.approx(mannwhitneyu(above, below).statistic / (len(above) * len(below)))


def test_matched_and_unmatched_are_the_diagonal_and_the_rest(unit):
    one, other = unit(4, 5, 1), unit(4, 5, 2)
    full = one @ other.T
    np.testing.assert_allclose(matched(one, other), np.diag(full), atol=1e-6)
    expected = [full[i, j] for i in range(4) for j in range(4) if i != j]
    np.testing.assert_allclose(unmatched(one, other), expected, atol=1e-6)


@pytest.mark.parametrize("shapes", [((3, 4), (2, 4)), ((3, 4), (3, 5)), ((1, 4), (1, 4)), ((4,), (4,))])
def test_arrays_that_do_not_match_are_refused(shapes):
    with pytest.raises(ValueError, match=r"expected two arrays \[n, D\]"):
        matched(*(np.zeros(shape, np.float32) for shape in shapes))


def test_effective_rank_of_equal_singular_values_is_their_number():
    assert effective_rank(rotation(6, 0)) == pytest.approx(6)
    assert effective_rank(np.outer([1, 2, 3], [1.0, 0])) == pytest.approx(1)
    assert effective_rank(np.diag([3.0, 1.0])) == pytest.approx(
        4 / 3**0.75
    )  # exp(-(3/4 ln 3/4 + 1/4 ln 1/4))
    assert np.isnan(effective_rank(np.zeros((3, 2))))


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_no_measure_depends_on_the_axes(unit, seed):
    captions, images, turn = unit(12, 6, seed), unit(12, 6, seed + 1), rotation(6, seed)
    before, after = geometry(captions, images), geometry(captions @ turn, images @ turn)
    for name in ("gap", "gap_by_chance", "gap_centred", "text_rank", "image_rank"):
        assert getattr(after, name) == pytest.approx(getattr(before, name), abs=1e-5)
    assert after.image_text.matched.mean == pytest.approx(before.image_text.matched.mean, abs=1e-6)
    assert after.texts.mean == pytest.approx(before.texts.mean, abs=1e-6)


def test_one_shift_between_the_modalities_is_the_gap_and_goes_with_the_means(unit):
    captions = normalize(np.hstack([unit(50, 8), np.ones((50, 1))]))
    images = captions * np.array([1] * 8 + [-1], np.float32)  # mirrored: two cones on one axis
    assert centroid_gap(captions, images) == pytest.approx(2 / 2**0.5, abs=1e-6)
    assert centroid_gap(centred(captions), centred(images)) == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(matched(centred(captions), centred(images)), 1, atol=1e-5)


def test_the_gap_by_chance_is_what_random_swaps_of_the_sides_show(unit):
    one, other = unit(20, 6, 3), unit(20, 6, 4)
    swap = np.random.default_rng(0).random((4000, 20, 1)) < 0.5
    gaps = [centroid_gap(np.where(s, other, one), np.where(s, one, other)) for s in swap[:400]]
    assert centroid_gap_by_chance(one, other) == pytest.approx(np.sqrt(np.mean(np.square(gaps))), rel=0.06)


def test_modalities_in_two_cones_are_all_gap(unit):
    texts = normalize(np.hstack([unit(9, 3), np.full((9, 1), 2)]))
    found = geometry(texts, texts * np.array([1, 1, 1, -1], np.float32), texts, texts)
    assert (found.apart, found.recall_centred[1]) == (1, 1)
    assert found.texts.mean == pytest.approx(found.images.mean) and found.texts.mean > 0.5


def test_the_rank_is_of_what_is_left_without_the_mean():
    line = np.array([[1, x, 0] for x in (-1, 0, 2, 3)], np.float32)
    assert geometry(line, line).text_rank == pytest.approx(1, abs=1e-5)
    assert geometry(line, line).most_rank == 3


def test_recall_counts_the_captions_that_find_their_own_picture():
    images = np.eye(12, dtype=np.float32)
    captions = images.copy()
    captions[0] = normalize(np.array([[2] + [3] * 11], np.float32))[0]  # its own picture comes last of twelve
    captions[1] = normalize(images[:2].sum(0, keepdims=True) + 0.1 * images[:1])[0]  # and its own second
    assert recall(captions, images) == {1: 10 / 12, 10: 11 / 12}


def test_equal_modalities_have_no_gap_and_every_picture_is_found(unit):
    vectors = unit(12, 16)
    found = geometry(vectors, vectors, vectors, vectors)
    assert (found.gap, found.gap_by_chance, found.apart) == (0, 0, 0.5)
    assert found.recall[1] == found.image_text.auroc == 1
    assert found.recall_by_chance == {1: 1 / 12, 10: 10 / 12}
    assert found.text_text == found.image_text


def test_histograms_hold_every_pair_cosines_past_one_too(unit):
    vectors = unit(9, 3) * np.float32(1 + 1e-6)
    found = geometry(vectors, vectors)
    assert len(found.texts.counts) == len(EDGES) - 1
    assert found.image_text.matched.counts[-1] == sum(found.image_text.matched.counts) == 9
    assert sum(found.image_text.unmatched.counts) == sum(found.images.counts) == 72
    assert (found.text_text, found.apart, found.text_pairs) == (None, None, 0)


# -- pairs ---------------------------------------------------------------------------------------------------


@pytest.fixture
def write(tmp_path):
    """Write rows and a picture for each of their files, in a folder beside them; returns the file."""

    def write(*rows):
        (tmp_path / "set").mkdir(exist_ok=True)
        for number, row in enumerate(rows):
            Image.new("RGB", (24, 16), (40 * number % 256, 90, 200)).save(tmp_path / "set" / row["file"])
        path = tmp_path / "set.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


ROWS = [
    {"file": "a.png", "caption": "a cat", "alt": "the cat is red", "split": "dev"},
    {"file": "b.png", "caption": "a dog", "alt": "the dog is green", "split": "dev"},
    {"file": "c.png", "alt": "a river", "title": "Water", "split": "dev"},
    {"file": "d.png", "title": "the moon", "split": "train"},
]


def test_caption_and_alt_are_a_pair_of_texts_and_a_title_is_none(write):
    data = read_captioned(write(*ROWS), split="dev")
    assert [(text, path.name) for text, path in data.pictures] == [
        ("a cat", "a.png"),
        ("a dog", "b.png"),
        ("a river", "c.png"),
    ]
    assert data.texts == [("a cat", "the cat is red"), ("a dog", "the dog is green")]


def test_captions_in_several_rows_of_a_picture_are_a_pair_of_texts(write):
    data = read_captioned(
        write(
            {"file": "a.png", "caption": "a cat"},
            {"file": "a.png", "caption": "red cat"},
            {"file": "b.png", "caption": "a dog"},
        )
    )
    assert [text for text, _ in data.pictures] == ["a cat", "a dog"]
    assert data.texts == [("a cat", "red cat")]


def test_a_text_that_two_pictures_share_makes_no_unmatched_pair(write):
    data = read_captioned(
        write(
            {"file": "a.png", "caption": "a cat", "alt": "a photo"},
            {"file": "b.png", "caption": "a cat", "alt": "another"},
            {"file": "c.png", "caption": "a dog", "alt": "a photo"},
        )
    )
    assert [path.name for _, path in data.pictures] == ["a.png", "c.png"]
    assert data.texts == [("a cat", "a photo")]


def test_pictures_come_out_of_a_tar(write, tmp_path):
    path = write(*ROWS)
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        archive.add(tmp_path / "set", ".")
    data = read_captioned(path)
    assert all(picture.is_file() and picture.parent != tmp_path / "set" for _, picture in data.pictures)


def test_a_limit_keeps_the_same_sample_every_time(write):
    path = write(*({"file": f"{i}.png", "caption": f"caption {i}"} for i in range(9)))
    first, again = read_captioned(path, limit=4), read_captioned(path, limit=4)
    assert first == again
    assert len(first.pictures) == 4


def test_a_file_of_pairs_replaces_two_captions(write, tmp_path):
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(
        "".join(json.dumps({"anchor": a, "positive": b}) + "\n" for a, b in ["xy", "zw", "xv", "uy"])
    )
    data = read_captioned(write(*ROWS), texts=pairs)
    assert data.texts == [("x", "y"), ("z", "w")]  # y is the positive of u too
    assert data.texts_from == "the pairs of pairs.jsonl"


def test_other_data_are_refused(write, tmp_path):
    one = write(ROWS[0])
    with pytest.raises(DataError, match="found 1 picture with a caption of its own, expected at least 2"):
        read_captioned(one)
    scored = tmp_path / "sts.jsonl"
    scored.write_text(json.dumps({"a": "x", "b": "y", "score": 1}) + "\n")
    with pytest.raises(DataError, match="found no captioned pictures, expected rows with file and caption"):
        read_captioned(scored)
    with pytest.raises(DataError, match="expected pairs of texts, rows with anchor and positive"):
        read_captioned(write(*ROWS), texts=scored)


# -- the command ---------------------------------------------------------------------------------------------


@pytest.fixture
def analyse(capsys, monkeypatch, write):
    """Run `unbraid analyse` on ROWS; gives exit code, output and errors."""
    path = write(*ROWS)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["unbraid", "analyse", "--images", str(path), *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return run


def test_a_bundle_is_shown_with_and_without_its_mapper_and_drawn(analyse, bundle_folder, tmp_path):
    code, out, _ = analyse(bundle_folder, "--out", tmp_path / "report")
    assert code == 0
    assert "4 captions with their pictures; text–text: 2 pairs, two captions of one picture" in out
    lines = [line for line in out.splitlines() if line.startswith("|")]
    assert len(lines) == 2 * (2 + 2)
    about = json.loads((tmp_path / "report" / "analysis.json").read_text(encoding="utf-8"))
    assert [row["mode"] for row in about["rows"]] == ["retrieval", None]
    assert about["rows"][0]["about"]["tasks"] == ["query", "document"]
    with Image.open(tmp_path / "report" / "analysis.png") as picture:
        assert picture.width > 1000


def test_rows_as_json_hold_what_the_vectors_say(analyse, bundle_folder, embedder, tmp_path):
    _, out, _ = analyse(bundle_folder, "--json")
    row = json.loads(out.splitlines()[0])
    captions = embedder.encode(["a cat", "a dog", "a river", "the moon"], task="query")
    images = embedder.encode([tmp_path / "set" / f"{name}.png" for name in "abcd"], task="document")
    assert row["geometry"]["image_text"]["matched"]["mean"] == pytest.approx(
        float((captions * images).sum(1).mean()), abs=1e-5
    )
    assert row["geometry"]["gap"] == pytest.approx(centroid_gap(captions, images), abs=1e-5)


def test_two_bundles_of_one_name_are_told_apart_by_their_place(analyse, bundle_folder, bundle_copy):
    _, out, _ = analyse(bundle_folder, bundle_copy, "--json")
    names = [json.loads(line)["model"] for line in out.splitlines()]
    assert len(set(names)) == 4
    assert names[0].endswith(f"({bundle_folder})") and names[3].endswith(f"({bundle_copy}), no mapper")


@pytest.fixture(scope="module")
def clip_name(tmp_path_factory):
    """A tiny open_clip architecture with open_clip's own vocabulary."""
    from unbraid.training.torchvision_shim import ensure_torchvision

    ensure_torchvision()
    import open_clip

    path = tmp_path_factory.mktemp("clip") / "unbraid-tiny-clip.json"
    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
    text = {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    path.write_text(json.dumps({"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(path)
    return path.stem


def test_an_open_clip_model_and_a_teacher_stand_beside_a_bundle(analyse, bundle_folder, clip_name, tiny_v4):
    code, out, err = analyse(bundle_folder, f"teacher:{tiny_v4}", f"open_clip:{clip_name}", "--json")
    assert code == 0, err
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["mode"] for row in rows] == ["retrieval", None, "retrieval", None]
    assert rows[2]["model"] == f"teacher {tiny_v4}"
    assert rows[3]["model"] == f"open_clip {clip_name}, random weights"
    assert rows[3]["about"]["weights"] == "random, seed 0"
    again = json.loads(analyse(f"open_clip:{clip_name}", "--json")[1])
    assert again["geometry"] == rows[3]["geometry"]


def test_clip_vectors_are_those_of_the_model_itself(clip_name, write, tmp_path):
    import open_clip
    import torch

    from unbraid.evaluation.geometry.open_clip_model import Clip

    write(*ROWS)
    torch.manual_seed(0)
    model, _, preprocess = open_clip.create_model_and_transforms(clip_name)
    pixels = preprocess(Image.open(tmp_path / "set" / "a.png"))[None]
    with torch.inference_mode():
        text = model.eval().encode_text(open_clip.get_tokenizer(clip_name)(["a cat"]), normalize=True)
        image = model.encode_image(pixels, normalize=True)
    found = Clip(clip_name, "cpu").encode([tmp_path / "set" / "a.png", "a cat"])
    np.testing.assert_allclose(found, torch.cat([image, text]).numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["teacher:minilm"], "the teacher minilm encodes text, code and no pictures: expected a bundle"),
        (["teacher:nobody"], "unknown teacher 'nobody'"),
        (
            ["open_clip:ViT-B-23"],
            "open_clip has no architecture 'ViT-B-23': expected a name such as ViT-B-32",
        ),
        (["open_clip:ViT-B-32:nobody"], "no weights 'nobody' of ViT-B-32: expected a file or one of openai"),
        (
            ["clip:ViT-B-32"],
            "clip:ViT-B-32: no such bundle, and 'clip' is no kind of model: expected teacher:NAME",
        ),
        (["--mode", "sideways"], "'sideways' is not one of retrieval, symmetric, code"),
    ],
)
def test_wrong_use_is_one_clear_line(analyse, words, said):
    code, out, err = analyse(*words)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1
