import gzip
import json
import shutil

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from PIL import Image
from scipy.stats import spearmanr
from tokenizers import Tokenizer
from torch.nn.functional import normalize

from unbraid.base_encoders.image_encoder import load_image_encoder
from unbraid.base_encoders.text_encoder import load_text_encoder
from unbraid.distill import fit_mappers as stage
from unbraid.distill import fit_search_mode as module
from unbraid.distill.data.captioned_pictures import Picture
from unbraid.distill.data.member_items import compared
from unbraid.distill.fit_mappers import fit_mappers, read_outs, training_rows
from unbraid.distill.fit_search_mode import Pairs, fit_mode, held_out_score
from unbraid.distill.labels.label_shard import Labels, text_key
from unbraid.distill.labels.label_store import Description, open_labels, read_shards
from unbraid.distill.recipe import MapperTraining, Recipe, TextTraining
from unbraid.distill.space.base_space import fit_base_space, load_base_space
from unbraid.distill.space.task_space import task_target
from unbraid.distill.trained_students import encode, load_students
from unbraid.errors import DataError
from unbraid.mappers import GatedMapper, LinearMapper, LowRankMapper, load_mapper
from unbraid.tasks import TASKS
from unbraid.training.data_split import is_dev
from unbraid.training.torchvision_shim import ensure_torchvision

ensure_torchvision()

DIM = 12
RANKING = MapperTraining(
    "linear",
    "ranking",
    ("pairs.jsonl.gz",),
    steps=150,
    batch=64,
    learning_rate=0.02,
    recovery=0.1,
    prefixes=(),
)
GRADED = replace(RANKING, loss="cosent")
NOTHING = torch.empty(1, 0, DIM)  # no other documents
EYE = torch.eye(DIM)
LOW_RANK = replace(RANKING, kind="low-rank", rank=2)


def identity(sides=1):
    return [LinearMapper(EYE) for _ in range(sides)]


def of_one_encoder(left, right, grades=None):
    return Pairs(left[None], right[None], torch.ones(len(left)) if grades is None else grades)


def noisy_pairs(n, seed):
    """Pairs that agree in six dimensions and differ at random in the six others."""
    generator = torch.Generator().manual_seed(seed)
    signal = torch.randn(n, 6, generator=generator)
    left, right = (
        normalize(torch.cat([signal, 1.5 * torch.randn(n, 6, generator=generator)], 1), dim=1)
        for _ in range(2)
    )
    return of_one_encoder(left, right)


def turned_pairs(n, seed):
    """Pairs whose right side is the left with two axes swapped in sign: a change of rank two."""
    generator = torch.Generator().manual_seed(seed)
    left = normalize(torch.randn(n, DIM, generator=generator) * torch.tensor([3.0, 3.0] + [1.0] * 10), dim=1)
    noise = 0.05 * torch.randn(n, DIM, generator=generator)
    return of_one_encoder(left, normalize(left * torch.tensor([-1.0, -1.0] + [1.0] * 10) + noise, dim=1))


def graded_pairs(n, seed):
    """Pairs whose grade is their cosine in the first six dimensions alone."""
    generator = torch.Generator().manual_seed(seed)
    left, right = (normalize(torch.randn(n, DIM, generator=generator), dim=1) for _ in range(2))
    return of_one_encoder(left, right, torch.cosine_similarity(left[:, :6], right[:, :6]))


# -- scores ------------------------------------------------------------------------------------------------------


def test_the_ranking_score_is_the_mean_reciprocal_rank_of_the_own_positive():
    left = torch.eye(3)
    right = normalize(torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 2.0], [0.0, 1.5, 1.0]]), dim=1)
    # to the first, the first is nearest; to the second, the third; to the third, the second
    expected = (1 + 1 / 2 + 1 / 2) / 3
    pairs = of_one_encoder(left, right)
    assert held_out_score(RANKING, [LinearMapper(left)], pairs, torch.empty(1, 0, 3)) == pytest.approx(
        expected
    )


def test_the_score_is_the_mean_over_the_encoders():
    one, other = noisy_pairs(50, 0), noisy_pairs(50, 1)
    both = Pairs(torch.cat([one.left, other.left]), torch.cat([one.right, other.right]), one.grades)
    nothing = torch.empty(2, 0, DIM)
    apart = [held_out_score(RANKING, identity(), pairs, NOTHING) for pairs in (one, other)]
    assert held_out_score(RANKING, identity(), both, nothing) == pytest.approx(np.mean(apart))


def test_the_graded_score_is_spearmans():
    pairs = graded_pairs(50, 0)
    expected = spearmanr((pairs.left * pairs.right).sum(-1)[0], pairs.grades).statistic
    assert held_out_score(GRADED, identity(), pairs, NOTHING) == pytest.approx(expected)


def test_the_first_mapper_is_the_left_sides_and_the_last_the_right_sides():
    pairs = turned_pairs(50, 0)
    straight, turn = LinearMapper(EYE), LinearMapper(torch.diag(torch.tensor([-1.0, -1.0] + [1.0] * 10)))
    assert held_out_score(RANKING, [turn, straight], pairs, NOTHING) > 0.95
    assert held_out_score(RANKING, [straight, turn], pairs, NOTHING) > 0.95
    assert held_out_score(RANKING, [turn], pairs, NOTHING) == pytest.approx(
        held_out_score(RANKING, [straight], pairs, NOTHING), abs=1e-6
    )


# -- fitting -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "sides", "make", "gain"),
    [
        (RANKING, 1, noisy_pairs, 0.1),
        (replace(RANKING, kind="low-rank", rank=6), 1, noisy_pairs, 0.1),
        (LOW_RANK, 2, turned_pairs, 0.3),
        (replace(RANKING, kind="gated", rank=8), 1, noisy_pairs, 0.1),
        (GRADED, 1, graded_pairs, 0.15),
    ],
    ids=["linear", "low-rank", "low-rank, two-sided", "gated", "graded"],
)
def test_a_map_that_helps_is_found(config, sides, make, gain):
    torch.manual_seed(0)
    mappers, curve = fit_mode(config, [EYE] * sides, make(400, 1), [make(100, 2)], seed=0)
    assert len(mappers) == sides
    assert curve[0] == pytest.approx(
        held_out_score(config, identity(sides), make(100, 2), make(400, 1).right)
    )
    assert max(curve) > curve[0] + gain


def scripted_scores(monkeypatch, scores):
    """Each held-out score is the next of `scores`; the matrices that were scored, as they come."""
    given, seen = iter(scores), []

    def scripted(config, mappers, dev, others):
        seen.append(mappers[0].matrix().detach().clone())
        return next(given)

    monkeypatch.setattr(module, "held_out_score", scripted)
    return seen


def test_the_mappers_returned_are_the_best_of_the_curve(monkeypatch):
    seen = scripted_scores(monkeypatch, [0.2, 0.5, 0.9, 0.4, 0.9, 0.1, 0.3])
    (mapper,), curve = fit_mode(RANKING, [EYE], noisy_pairs(100, 1), [noisy_pairs(50, 2)], seed=0)
    assert curve == [0.2, 0.5, 0.9, 0.4, 0.9, 0.1, 0.3]
    assert torch.equal(mapper.matrix(), seen[2])


def test_of_the_steps_that_lose_nowhere_too_much_the_largest_mean_gain_is_kept(monkeypatch):
    #            read-outs | both gain | more in the mean, a loss within the tolerance | one loses too much
    seen = scripted_scores(monkeypatch, [0.5, 0.5, 0.51, 0.51, 0.6, 0.497, 0.9, 0.495])
    monkeypatch.setattr(module, "CHECK_EVERY", 1)
    dev = [noisy_pairs(50, 2), noisy_pairs(50, 3)]
    (mapper,), _ = fit_mode(replace(RANKING, steps=3), [EYE], noisy_pairs(100, 1), dev, seed=0)
    assert torch.equal(mapper.matrix(), seen[4])


def test_a_step_that_loses_anything_on_a_whole_source_is_not_kept(monkeypatch):
    #            read-outs | the whole source loses .001, the other gains | both gain
    seen = scripted_scores(monkeypatch, [0.5, 0.5, 0.499, 0.9, 0.501, 0.51])
    monkeypatch.setattr(module, "CHECK_EVERY", 1)
    dev = [noisy_pairs(50, 2), noisy_pairs(50, 3)]
    (mapper,), _ = fit_mode(replace(RANKING, steps=2), [EYE], noisy_pairs(100, 1), dev, seed=0, whole=1)
    assert torch.equal(mapper.matrix(), seen[4])


@pytest.mark.parametrize("kind", ["linear", "low-rank", "gated"])
@pytest.mark.parametrize("sides", [1, 2])
def test_mappers_stay_the_read_outs_when_nothing_beats_them(kind, sides):
    """The held-out pairs are equal, so the identity is perfect and any other mapper at best as good."""
    torch.manual_seed(0)
    same = noisy_pairs(50, 2).left[0]
    config = replace(RANKING, kind=kind)
    mappers, curve = fit_mode(
        config, [EYE] * sides, noisy_pairs(200, 1), [of_one_encoder(same, same)], seed=0
    )
    assert curve[0] == max(curve) == 1
    assert all(torch.equal(mapper.matrix(), EYE) for mapper in mappers)


def test_a_mapper_that_harms_one_source_is_not_taken():
    helped, other = noisy_pairs(100, 3), noisy_pairs(100, 4)
    harmed = Pairs(
        other.left.roll(6, -1), other.right.roll(6, -1), other.grades
    )  # agree where the others differ
    alone, _ = fit_mode(RANKING, [EYE], noisy_pairs(400, 1), [helped], seed=0)
    both, _ = fit_mode(RANKING, [EYE], noisy_pairs(400, 1), [helped, harmed], seed=0)
    assert not torch.equal(alone[0].matrix(), EYE)
    assert torch.equal(both[0].matrix(), EYE)


def test_training_on_noise_stays_the_read_out():
    generator = torch.Generator().manual_seed(3)
    noise = of_one_encoder(*(normalize(torch.randn(200, DIM, generator=generator), dim=1) for _ in range(2)))
    same = noisy_pairs(100, 2).left[0]
    dev = of_one_encoder(same, normalize(same + 0.1 * noise.left[0, :100], dim=1))
    (mapper,), curve = fit_mode(replace(RANKING, recovery=0.0), [EYE], noise, [dev], seed=0)
    assert max(curve) == curve[0] and torch.equal(mapper.matrix(), EYE)


def test_a_strong_recovery_term_keeps_a_mapper_near_its_read_out():
    train, dev = noisy_pairs(400, 1), noisy_pairs(100, 2)
    start = EYE + 0.1 * torch.randn(DIM, DIM, generator=torch.Generator().manual_seed(4))
    (free,), _ = fit_mode(replace(RANKING, recovery=0.0), [start], train, [dev], seed=0)
    (held,), _ = fit_mode(replace(RANKING, recovery=30.0), [start], train, [dev], seed=0)
    moved = [
        1 - torch.cosine_similarity(mapper(dev.left), dev.left @ start.T, dim=-1).mean()
        for mapper in (free, held)
    ]
    assert moved[1] < 0.2 * moved[0]


def test_fewer_steps_than_between_two_scores_are_scored_too():
    _, curve = fit_mode(replace(RANKING, steps=3), [EYE], noisy_pairs(100, 1), [noisy_pairs(50, 2)], seed=0)
    assert len(curve) == 2


def test_the_kind_of_a_recipe_is_the_kind_of_its_mappers():
    train, dev = noisy_pairs(400, 1), noisy_pairs(100, 2)
    for kind, made in (("linear", LinearMapper), ("low-rank", LowRankMapper), ("gated", GatedMapper)):
        torch.manual_seed(0)
        fitted, _ = fit_mode(replace(RANKING, kind=kind, rank=6), [EYE, EYE], train, [dev], seed=0)
        assert [type(mapper) for mapper in fitted] == [made] * 2


def test_the_two_sides_differ_by_a_matrix_of_low_rank(monkeypatch):
    monkeypatch.setattr(module, "DIFFERENCE", 2)
    torch.manual_seed(0)
    (query, document), curve = fit_mode(
        RANKING, [EYE, EYE], turned_pairs(400, 1), [turned_pairs(100, 2)], seed=0
    )
    assert max(curve) > curve[0]
    assert torch.linalg.matrix_rank(query.matrix() - document.matrix(), atol=1e-5) == 2


def test_read_outs_that_differ_by_a_low_rank_are_where_a_fit_starts(monkeypatch):
    monkeypatch.setattr(module, "DIFFERENCE", 2)
    turn = torch.diag(torch.tensor([-1.0, -1.0] + [1.0] * 10))
    difference = module._difference([turn, EYE], torch.Generator().manual_seed(0))
    torch.testing.assert_close(EYE + difference[0] @ difference[1].T, turn, atol=1e-5, rtol=0)


# -- the stage -----------------------------------------------------------------------------------------------------

NOUNS = "cat dog house river moon vector model code".split()


def write_rows(path, rows):
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def run(tiny, tmp_path):
    """The tiny run's text encoder, a shard of labels and their base space."""
    folder = tmp_path / "run"
    shutil.copytree(tiny.run / "small", folder / "small")
    texts = [f"{first} {second}" for first in NOUNS for second in NOUNS]
    vectors = {"plain": np.random.default_rng(1).standard_normal((len(texts), 24)).astype(np.float32)}
    keys = [text_key("text", text) for text in texts]
    with open_labels(
        folder / "labels", Description("fake", {}, ("plain",), 24, dict.fromkeys(TASKS, "plain"))
    ) as store:
        store.want(set(keys))
        store.append(Labels(texts, ["text"] * len(texts), [""] * len(texts), vectors, keys))
    fit_base_space([vectors], seed=0).save(folder / "base_space.safetensors")
    return folder


@pytest.fixture
def data(tmp_path):
    """300 pairs and 300 graded pairs of a few words."""
    rng = np.random.default_rng(0)
    words = [" ".join(rng.choice(NOUNS, 3)) + f" {number}" for number in range(300)]
    write_rows(
        tmp_path / "pairs.jsonl.gz",
        [{"anchor": text, "positive": f"the {text} of a moonRiver"} for text in words],
    )
    write_rows(
        tmp_path / "graded.jsonl.gz",
        [{"a": text, "b": words[-row], "score": row % 6} for row, text in enumerate(words)],
    )
    return tmp_path


def recipe(**mappers):
    return Recipe(
        "tiny", "1", 5, dtype="float32", text={"small": TextTraining(max_tokens=24)}, mapper=mappers
    )


QUICK = MapperTraining("low-rank", "ranking", ("pairs.jsonl.gz",), rank=4, steps=2, batch=16)


def test_every_task_of_a_mode_gets_a_mapper_and_every_mode_two_scores(run, data):
    graded = replace(QUICK, kind="linear", loss="cosent", files=("graded.jsonl.gz",))
    code = replace(QUICK, kind="linear", modality="code")
    results = fit_mappers(recipe(retrieval=QUICK, symmetric=graded, code=code), data, run)
    written = {path.stem: type(load_mapper(path)) for path in (run / "mappers").glob("*.safetensors")}
    assert written.keys() == {"query", "document", "symmetric", "code"}
    assert all(made in (LinearMapper, LowRankMapper) for made in written.values())
    assert list(results) == [
        f"{mode}, small sources, {state}"
        for mode in ("retrieval", "symmetric", "code")
        for state in ("read-out", "mapped")
    ]
    for mode in ("retrieval", "symmetric", "code"):
        assert results[f"{mode}, small sources, mapped"] >= results[f"{mode}, small sources, read-out"]
    record = json.loads((run / "mappers" / "record.json").read_text())
    assert record["results"] == results
    assert (run / "mappers" / "curves.png").exists()


def test_the_held_out_score_of_the_read_out_is_that_of_the_dev_rows_among_all_positives(run, data):
    results = fit_mappers(recipe(retrieval=QUICK), data, run)
    with gzip.open(data / "pairs.jsonl.gz", "rt") as lines:
        pairs = sorted(map(json.loads, lines), key=is_dev, reverse=True)
    count = sum(map(is_dev, pairs))
    students = load_students(recipe(), run, dtype=torch.float32)
    weight = read_outs(run)["query"]
    left, right = (
        normalize(students["small"]([row[side] for row in pairs], "text") @ weight.T, dim=-1)
        for side in ("anchor", "positive")
    )
    scores = (left[:count] @ right.T).numpy()
    ranks = [1 + (row > row[own] + 1e-6).sum() for own, row in enumerate(scores)]
    assert results["retrieval, small sources, read-out"] == pytest.approx(
        np.mean([1 / rank for rank in ranks]), abs=1e-3
    )


def test_a_read_out_gives_the_teachers_task_vectors(run):
    weight = read_outs(run)["symmetric"]
    shard = next(read_shards(run / "labels"))
    base = load_base_space(run / "base_space.safetensors").project(shard.vectors)
    found = normalize(torch.from_numpy(base) @ weight.T, dim=-1)
    np.testing.assert_allclose(found, task_target(shard.vectors["plain"]), atol=1e-2)


def tokenizer_of(run):
    tokenizer = Tokenizer.from_file(str(run / "small" / "tokenizer.json"))
    tokenizer.no_padding()
    return tokenizer


def test_a_training_row_that_shares_a_text_with_a_held_out_row_is_dropped(run, data):
    with gzip.open(data / "pairs.jsonl.gz", "rt") as lines:
        pairs = [json.loads(line) for line in lines]
    held_out = next(row for row in pairs if is_dev(row))
    twin = {
        "anchor": next(row["anchor"] for row in pairs if not is_dev(row)),
        "positive": held_out["positive"],
    }
    write_rows(data / "pairs.jsonl.gz", [twin, held_out])
    with pytest.raises(DataError, match="0 training and 1 held-out"):
        fit_mappers(recipe(retrieval=QUICK), data, run)


def test_whole_held_out_sources_are_never_trained_on(data):
    write_rows(data / "other.jsonl.gz", [{"anchor": f"a {n}", "positive": f"b {n}"} for n in range(20)])
    write_rows(data / "pairs.jsonl.gz", [{"anchor": f"c {n}", "positive": f"b {n}"} for n in range(40)])
    train, dev = training_rows(replace(QUICK, held_out=("other.jsonl.gz",)), data, 0)
    assert list(dev) == ["other.jsonl.gz"] and len(dev["other.jsonl.gz"]) == 20
    assert {row["positive"] for row in train}.isdisjoint(row["positive"] for row in dev["other.jsonl.gz"])
    assert train


def test_no_row_with_a_text_of_a_dev_set_is_trained_on(data):
    """However it is written; the held-out rows stay."""
    config = replace(QUICK, files=("pairs.jsonl.gz",))
    train, dev = training_rows(config, data, 0)
    banned = {compared(train[0]["anchor"].upper() + "!"), compared(train[1]["positive"])}
    left, still = training_rows(config, data, 0, banned)
    assert still == dev and [row for row in train if row not in left] == train[:2]


def test_labels_that_lack_a_task_of_the_recipe_are_refused_by_name(run, data):
    manifest = run / "labels" / "labels.json"
    about = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(about | {"tasks": {"query": "plain"}}))
    with pytest.raises(DataError, match="no labels for document: label again"):
        fit_mappers(recipe(retrieval=QUICK), data, run)


def test_files_without_held_out_pairs_are_refused(run, data):
    write_rows(data / "pairs.jsonl.gz", [{"anchor": "cat", "positive": "dog"}])
    with pytest.raises(DataError, match=r"pairs\.jsonl\.gz: 1 training and 0 held-out pairs"):
        fit_mappers(recipe(retrieval=QUICK), data, run)


def test_encoding_keeps_the_order_of_the_texts(run):
    encoder, tokenizer = load_text_encoder(run / "small").eval(), tokenizer_of(run)
    texts = ["the cat", "a " * 20, "moon", "", "dog house river", "moon"]
    together = encode(encoder, tokenizer, texts)
    alone = torch.cat([encode(encoder, tokenizer, [text]) for text in texts])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


# -- pictures as pairs ---------------------------------------------------------------------------------------------


def test_first_captions_and_their_pictures_are_pairs_of_every_student(tiny, run, monkeypatch):
    """The picture's vector is the tower's, the same beside each student's caption; dev pictures are held out."""
    shutil.copytree(tiny.run / "image", run / "image")
    rng = np.random.default_rng(0)
    pictures = [
        Picture(
            rng.integers(0, 255, (24, 24, 3)).astype(np.uint8), (f"{noun} one", "other"), "photos", row >= 6
        )
        for row, noun in enumerate(NOUNS)
    ]
    monkeypatch.setattr(stage, "photographs", lambda data, names: pictures if names == ("a",) else [])
    students = load_students(recipe(), run, dtype=torch.float32)
    doubled = {"one": students["small"], "two": students["small"]}
    train, dev = stage._picture_pairs(("a",), run, run, doubled)
    assert train.left.shape == train.right.shape == (2, 6, 512) and dev.left.shape == (2, 2, 512)
    torch.testing.assert_close(
        train.left[0], students["small"]([f"{noun} one" for noun in NOUNS[:6]], "text")
    )
    assert torch.equal(train.right[0], train.right[1])
    tower = load_image_encoder(run / "image")
    pixels = torch.from_numpy(np.stack([tower.preprocess(Image.fromarray(one.pixels)) for one in pictures]))
    with torch.no_grad():
        torch.testing.assert_close(torch.cat([train.right[0], dev.right[0]]), tower(pixels))


def test_a_mode_with_captions_is_fitted_on_pictures_too(tiny, run, data, monkeypatch):
    shutil.copytree(tiny.run / "image", run / "image")
    rng = np.random.default_rng(0)
    pictures = [
        Picture(rng.integers(0, 255, (24, 24, 3)).astype(np.uint8), (f"{noun} one",), "photos", row % 2 == 0)
        for row, noun in enumerate(NOUNS)
    ]
    monkeypatch.setattr(stage, "photographs", lambda data, names: pictures)
    results = fit_mappers(recipe(retrieval=replace(QUICK, captions=("a",))), data, run)
    assert {"retrieval, pictures, read-out", "retrieval, pictures, mapped"} <= results.keys()
