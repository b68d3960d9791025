import gzip
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from tokenizers import Tokenizer
from torch.nn.functional import normalize

from unbraid.base_encoders.text import load_text_encoder
from unbraid.distill import fit_mappers as stage
from unbraid.distill.base_space import fit_base_space
from unbraid.distill.fit_mappers import Pairs, encode, fit_mappers, fit_mode, held_out_score
from unbraid.distill.recipe import ImageTraining, MapperTraining, Recipe, TextTraining
from unbraid.errors import DataError
from unbraid.mappers import LinearMapper, LowRankMapper, load_mapper
from unbraid.teacher.labels import Description, open_labels
from unbraid.teacher.shard import Labels, text_key
from unbraid.torchvision_shim import ensure_torchvision
from unbraid.training.rows import is_dev

ensure_torchvision()

DIM = 12
RANKING = MapperTraining(
    "linear", "ranking", ("pairs.jsonl.gz",), steps=150, batch=64, learning_rate=0.02, recovery=0.1
)
GRADED = replace(RANKING, loss="cosent")
NOTHING = torch.empty(0, DIM)  # no other documents
LOW_RANK = replace(RANKING, kind="low-rank", rank=2)


def identity(sides=1):
    return [LinearMapper(DIM) for _ in range(sides)]


def noisy_pairs(n, seed):
    """Pairs that agree in six dimensions and differ at random in the six others."""
    generator = torch.Generator().manual_seed(seed)
    signal = torch.randn(n, 6, generator=generator)
    left, right = (
        normalize(torch.cat([signal, 1.5 * torch.randn(n, 6, generator=generator)], 1), dim=1)
        for _ in range(2)
    )
    return Pairs(left, right, torch.ones(n))


def turned_pairs(n, seed):
    """Pairs whose right side is the left with two axes swapped in sign: a change of rank two."""
    generator = torch.Generator().manual_seed(seed)
    left = normalize(torch.randn(n, DIM, generator=generator) * torch.tensor([3.0, 3.0] + [1.0] * 10), dim=1)
    noise = 0.05 * torch.randn(n, DIM, generator=generator)
    return Pairs(
        left, normalize(left * torch.tensor([-1.0, -1.0] + [1.0] * 10) + noise, dim=1), torch.ones(n)
    )


def graded_pairs(n, seed):
    """Pairs whose grade is their cosine in the first six dimensions alone."""
    generator = torch.Generator().manual_seed(seed)
    left, right = (normalize(torch.randn(n, DIM, generator=generator), dim=1) for _ in range(2))
    return Pairs(left, right, torch.cosine_similarity(left[:, :6], right[:, :6]))


# -- scores ------------------------------------------------------------------------------------------------------


def test_the_ranking_score_is_the_mean_reciprocal_rank_of_the_own_positive():
    left = torch.eye(3)
    right = normalize(torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 2.0], [0.0, 1.5, 1.0]]), dim=1)
    # to the first, the first is nearest; to the second, the third; to the third, the second
    expected = (1 + 1 / 2 + 1 / 2) / 3
    mappers = [LinearMapper(3)]
    assert held_out_score(
        RANKING, mappers, Pairs(left, right, torch.ones(3)), torch.empty(0, 3)
    ) == pytest.approx(expected)


def test_the_graded_score_is_spearmans():
    pairs = graded_pairs(50, 0)
    expected = spearmanr((pairs.left * pairs.right).sum(1), pairs.grades).statistic
    assert held_out_score(GRADED, identity(), pairs, NOTHING) == pytest.approx(expected)


def test_the_first_mapper_is_the_left_sides_and_the_last_the_right_sides():
    pairs = turned_pairs(50, 0)
    straight = LinearMapper(DIM)
    turn = LinearMapper(DIM)
    with torch.no_grad():
        turn.weight.copy_(torch.diag(torch.tensor([-1.0, -1.0] + [1.0] * 10)))
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
        (GRADED, 1, graded_pairs, 0.15),
    ],
    ids=["linear", "low-rank", "low-rank, two-sided", "graded"],
)
def test_a_map_that_helps_is_found(config, sides, make, gain):
    torch.manual_seed(0)
    mappers, curve = fit_mode(config, sides, make(400, 1), [make(100, 2)], seed=0)
    assert len(mappers) == sides
    assert curve[0] == pytest.approx(
        held_out_score(config, identity(sides), make(100, 2), make(400, 1).right)
    )
    assert max(curve) > curve[0] + gain


def test_the_mappers_returned_are_the_best_of_the_curve(monkeypatch):
    scores, seen = iter([0.2, 0.5, 0.9, 0.4, 0.9, 0.1, 0.3]), []

    def scripted(config, mappers, dev, others):
        seen.append(mappers[0].matrix().detach().clone())
        return next(scores)

    monkeypatch.setattr(stage, "held_out_score", scripted)
    (mapper,), curve = fit_mode(RANKING, 1, noisy_pairs(100, 1), [noisy_pairs(50, 2)], seed=0)
    assert curve == [0.2, 0.5, 0.9, 0.4, 0.9, 0.1, 0.3]
    assert torch.equal(mapper.matrix(), seen[2])


@pytest.mark.parametrize("kind", ["linear", "low-rank"])
@pytest.mark.parametrize("sides", [1, 2])
def test_mappers_stay_the_identity_when_nothing_beats_it(kind, sides):
    """The held-out pairs are equal, so the identity is perfect and any other mapper at best as good."""
    torch.manual_seed(0)
    same = noisy_pairs(50, 2).left
    config = replace(RANKING, kind=kind)
    mappers, curve = fit_mode(config, sides, noisy_pairs(200, 1), [Pairs(same, same, torch.ones(50))], seed=0)
    assert curve[0] == max(curve) == 1
    assert all(torch.equal(mapper.matrix(), torch.eye(DIM)) for mapper in mappers)


def test_a_mapper_that_harms_one_source_is_not_taken():
    same = noisy_pairs(50, 2).left
    helped, harmed = noisy_pairs(100, 3), Pairs(same, same + 1e-3 * same.flip(0), torch.ones(50))
    alone, _ = fit_mode(RANKING, 1, noisy_pairs(400, 1), [helped], seed=0)
    both, _ = fit_mode(RANKING, 1, noisy_pairs(400, 1), [helped, harmed], seed=0)
    assert not torch.equal(alone[0].matrix(), torch.eye(DIM))
    assert torch.equal(both[0].matrix(), torch.eye(DIM))


def test_training_on_noise_stays_the_identity():
    generator = torch.Generator().manual_seed(3)
    noise = Pairs(
        *(normalize(torch.randn(200, DIM, generator=generator), dim=1) for _ in range(2)), torch.ones(200)
    )
    same = noisy_pairs(100, 2).left
    dev = Pairs(same, normalize(same + 0.1 * noise.left[:100], dim=1), torch.ones(100))
    (mapper,), curve = fit_mode(replace(RANKING, recovery=0.0), 1, noise, [dev], seed=0)
    assert max(curve) == curve[0] and torch.equal(mapper.matrix(), torch.eye(DIM))


def test_a_strong_recovery_term_keeps_a_mapper_near_the_identity():
    train, dev = noisy_pairs(400, 1), noisy_pairs(100, 2)
    (free,), _ = fit_mode(replace(RANKING, recovery=0.0), 1, train, [dev], seed=0)
    (held,), _ = fit_mode(replace(RANKING, recovery=30.0), 1, train, [dev], seed=0)
    moved = [1 - torch.cosine_similarity(mapper(dev.left), dev.left).mean() for mapper in (free, held)]
    assert moved[1] < 0.2 * moved[0]


def test_fewer_steps_than_between_two_scores_are_scored_too():
    _, curve = fit_mode(replace(RANKING, steps=3), 1, noisy_pairs(100, 1), [noisy_pairs(50, 2)], seed=0)
    assert len(curve) == 2


def test_the_kind_of_a_recipe_is_the_kind_of_its_mappers():
    train, dev = noisy_pairs(100, 1), noisy_pairs(50, 2)
    (linear,), _ = fit_mode(replace(RANKING, steps=1), 1, train, [dev], seed=0)
    low_rank, _ = fit_mode(replace(LOW_RANK, steps=1), 2, train, [dev], seed=0)
    assert isinstance(linear, LinearMapper)
    assert [type(mapper) for mapper in low_rank] == [LowRankMapper] * 2
    assert low_rank[0].up.shape == (DIM, 2)


# -- the stage -----------------------------------------------------------------------------------------------------

NOUNS = "cat dog house river moon vector model code".split()


def write_rows(path, rows):
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def run(tiny, tmp_path):
    """The tiny run's text encoder, a shard of labels and their base space."""
    folder = tmp_path / "run"
    shutil.copytree(tiny.run / "text", folder / "text")
    texts = [f"{first} {second}" for first in NOUNS for second in NOUNS]
    vectors = {"plain": np.random.default_rng(1).standard_normal((len(texts), 24)).astype(np.float32)}
    keys = [text_key("text", text) for text in texts]
    with open_labels(folder / "labels", Description("fake", {}, ("plain",), 24)) as store:
        store.want(set(keys))
        store.append(Labels(texts, ["text"] * len(texts), [""] * len(texts), vectors, keys))
    fit_base_space(vectors, seed=0).save(folder / "base_space.safetensors")
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
        "tiny", "1", 5, "fake", 0, "float32", (), TextTraining(max_tokens=24), ImageTraining(), mappers
    )


QUICK = MapperTraining("low-rank", "ranking", ("pairs.jsonl.gz",), rank=4, steps=2, batch=16)


def test_every_task_of_a_mode_gets_a_mapper_and_every_mode_two_scores(run, data):
    graded = replace(QUICK, kind="linear", loss="cosent", files=("graded.jsonl.gz",))
    code = replace(QUICK, kind="linear", modality="code")
    results = fit_mappers(recipe(retrieval=QUICK, symmetric=graded, code=code), data, run)
    written = {path.stem: type(load_mapper(path)) for path in (run / "mappers").glob("*.safetensors")}
    assert written == {
        "query": LowRankMapper,
        "document": LowRankMapper,
        "symmetric": LinearMapper,
        "code": LinearMapper,
    }
    assert list(results) == [
        f"{mode}, small sources, {state}"
        for mode in ("retrieval", "symmetric", "code")
        for state in ("identity", "mapped")
    ]
    for mode in ("retrieval", "symmetric", "code"):
        assert results[f"{mode}, small sources, mapped"] >= results[f"{mode}, small sources, identity"]
    record = json.loads((run / "mappers" / "record.json").read_text())
    assert record["results"] == results
    assert (run / "mappers" / "curves.png").exists()


def test_the_held_out_score_of_the_identity_is_that_of_the_dev_rows_among_all_positives(run, data):
    results = fit_mappers(recipe(retrieval=QUICK), data, run)
    with gzip.open(data / "pairs.jsonl.gz", "rt") as lines:
        pairs = sorted(map(json.loads, lines), key=is_dev, reverse=True)
    count = sum(map(is_dev, pairs))
    encoder, tokenizer = load_text_encoder(run / "text").eval(), tokenizer_of(run)
    left, right = (
        encode(encoder, tokenizer, [row[side] for row in pairs]) for side in ("anchor", "positive")
    )
    scores = (left[:count] @ right.T).numpy()
    ranks = [1 + (row > row[own] + 1e-6).sum() for own, row in enumerate(scores)]
    assert results["retrieval, small sources, identity"] == pytest.approx(
        np.mean([1 / rank for rank in ranks]), abs=1e-3
    )


def tokenizer_of(run):
    tokenizer = Tokenizer.from_file(str(run / "text" / "tokenizer.json"))
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


def test_a_linear_mapper_starts_from_the_read_out_only_where_it_helps():
    train, dev = noisy_pairs(100, 1), noisy_pairs(50, 2)
    one_step = replace(RANKING, steps=1)
    signal = torch.diag(torch.tensor([1.0] * 6 + [0.0] * 6))
    helped, _ = fit_mode(one_step, 1, train, [dev], start=signal, seed=0)
    refused, curve = fit_mode(one_step, 1, train, [dev], start=torch.eye(DIM) - signal, seed=0)
    assert curve[1] < curve[0]
    assert helped[0].matrix().diagonal()[6:].abs().max() < 0.1
    assert refused[0].matrix().diagonal()[:6].min() > 0.9


def test_files_without_held_out_pairs_are_refused(run, data):
    write_rows(data / "pairs.jsonl.gz", [{"anchor": "cat", "positive": "dog"}])
    with pytest.raises(DataError, match=r"pairs\.jsonl\.gz: 1 training and 0 held-out pairs"):
        fit_mappers(recipe(retrieval=QUICK), data, run)


def test_encoding_keeps_the_order_of_the_texts(run):
    encoder, tokenizer = load_text_encoder(run / "text").eval(), tokenizer_of(run)
    texts = ["the cat", "a " * 20, "moon", "", "dog house river", "moon"]
    together = encode(encoder, tokenizer, texts)
    alone = torch.cat([encode(encoder, tokenizer, [text]) for text in texts])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
