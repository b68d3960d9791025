import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn

from unbraid.distill.data.dev_sets import DevSet
from unbraid.distill.data.training_items import TrainingItem
from unbraid.distill.unseen_scores import unseen_scores
from unbraid.evaluation import Retrieval
from unbraid.evaluation.evaluate import retrieval_scores
from unbraid.evaluation.metrics import dense, spearman

WORDS = ["[UNK]", "cat", "dog", "sun", "moon", "red", "read", "File"]


class WordSums(nn.Module):
    """The sum of seeded word vectors, unit length."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(len(WORDS), 6)
        nn.init.normal_(self.words.weight, generator=torch.Generator().manual_seed(3))

    def forward(self, ids, mask):
        return nn.functional.normalize((self.words(ids) * mask[..., None]).sum(1), dim=-1)


ENCODER = WordSums()


def tokenizer():
    made = Tokenizer(models.WordLevel({word: row for row, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


def items(*texts, modality="text"):
    return [TrainingItem(text, modality) for text in texts]


def vectors(*texts):
    read = tokenizer()
    with torch.inference_mode():
        return np.concatenate(
            [ENCODER(torch.tensor([read.encode(text).ids]), torch.ones(1, 1)).numpy() for text in texts]
        )


def scores(*sets, split_code=True, dtype=torch.float32):
    return unseen_scores(sets, ENCODER, tokenizer(), split_code, dtype)


QUERIES = ["cat sun", "moon", "red dog"]
DOCUMENTS = ["dog dog", "cat", "moon red sun", "read", "sun"]
RELEVANT = [{1, 4}, {0}, {2}]
SEARCH = DevSet("search", "retrieval", "en", items(*QUERIES), items(*DOCUMENTS), RELEVANT)
LEFT, RIGHT, GRADES = (
    ["cat", "dog", "sun", "moon"],
    ["cat red", "moon", "sun", "read red"],
    [4.0, 0.5, 5.0, 1.0],
)
PAIRS = DevSet("pairs", "sts", "en", items(*LEFT), items(*RIGHT), scores=GRADES)


def test_a_retrieval_set_gets_the_ndcg_of_the_evaluation():
    qrels = {str(row): {str(one): 1 for one in wanted} for row, wanted in enumerate(RELEVANT)}
    named = [{str(row): text for row, text in enumerate(side)} for side in (QUERIES, DOCUMENTS)]
    whole = retrieval_scores(
        Retrieval("search", *named, qrels), dense(vectors(*QUERIES), vectors(*DOCUMENTS))
    )
    assert 0 < whole["nDCG@10"].value < 1
    assert scores(SEARCH)["search"] == pytest.approx(whole["nDCG@10"].value)


def test_a_similarity_set_gets_the_spearman_of_the_evaluation():
    expected = spearman((vectors(*LEFT) * vectors(*RIGHT)).sum(1), np.array(GRADES)).value
    assert scores(PAIRS)["pairs"] == pytest.approx(expected)


def test_sets_of_a_kind_have_their_mean_beside_them():
    other = DevSet("other", "retrieval", "en", items("cat"), items("cat", "dog"), [{0}])
    found = scores(SEARCH, PAIRS, other)
    assert list(found) == ["search", "pairs", "other", "retrieval, mean", "sts, mean"]
    assert found["retrieval, mean"] == pytest.approx((found["search"] + 1) / 2)


def test_names_in_code_are_split_where_the_student_reads_them_so():
    """Whole, the name is an unknown word, and a document with the words of the query comes first."""
    code = items("readFile", "read File red", modality="code")
    one = DevSet("code", "code", "en", items("read File"), code, [{0}])
    assert scores(one, split_code=True)["code"] == 1.0
    assert scores(one, split_code=False)["code"] < 1.0


def test_texts_are_never_split():
    one = DevSet("text", "retrieval", "en", items("readFile"), items("read File", "[UNK]"), [{1}])
    assert scores(one)["text"] == 1.0


def test_no_sets_no_scores():
    assert scores() == {}


def test_in_bfloat16_the_scores_are_nearly_the_same():
    assert scores(PAIRS, dtype=torch.bfloat16)["pairs"] == pytest.approx(scores(PAIRS)["pairs"], abs=0.3)
