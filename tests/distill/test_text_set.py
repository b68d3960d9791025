import numpy as np
import pytest

from unbraid.distill.data.text_set import TextSet, text_set, text_tokenizer
from unbraid.distill.labels.label_shard import Labels
from unbraid.distill.recipe import TextTraining
from unbraid.distill.space.base_space import fit_base_space
from unbraid.runtime.text_language import is_english
from unbraid.vectors import normalize

WORDS = [f"word{number}" for number in range(20)]


def teacher_vectors(texts):
    """Two routes: sums of seeded vectors of a text's words, different ones for each route."""
    found = {}
    for seed, route in enumerate(("match", "search")):
        rows = [
            sum(np.random.default_rng([seed, *word.encode()]).standard_normal(32) for word in text.split())
            for text in texts
        ]
        found[route] = normalize(np.array(rows)).astype(np.float16)
    return found


@pytest.fixture(scope="module")
def backbone(word_backbone):
    """A tokenizer of whole words."""
    return word_backbone(WORDS, hidden_size=8, num_hidden_layers=1, intermediate_size=8)


def labelled(texts, modality="text", anchors=None):
    n = len(texts)
    keys = [f"{modality} {row} {text}" for row, text in enumerate(texts)]
    return Labels(texts, [modality] * n, anchors or [""] * n, teacher_vectors(texts), keys)


def code_set(backbone, share):
    """One described snippet (the description in a later shard), one whose description is not labelled."""
    texts, code = ["word1 word2", "word3"], ["word4 word5", "word6"]
    anchors = ["word3", "word7 word8"]
    shards = [labelled(code, "code", anchors), labelled(texts)]
    space = fit_base_space([teacher_vectors(WORDS)], seed=0)
    tokenizer = text_tokenizer(backbone / "tokenizer.json", 12)
    own = space.project(teacher_vectors(code + texts))
    return text_set(shards, space, tokenizer, TextTraining(code_anchor=share)).targets.astype(np.float32), own


def test_a_snippets_target_leans_on_its_description(backbone):
    targets, own = code_set(backbone, 0.25)
    np.testing.assert_allclose(targets[0], normalize(0.75 * own[0] + 0.25 * own[3]), atol=1e-3)


def test_texts_and_snippets_without_a_labelled_description_keep_their_own_target(backbone):
    targets, own = code_set(backbone, 0.25)
    np.testing.assert_allclose(targets[1:], own[1:], atol=1e-3)


def test_an_anchor_share_of_zero_changes_no_target(backbone):
    targets, own = code_set(backbone, 0.0)
    np.testing.assert_allclose(targets, own, atol=1e-3)


def test_code_is_tokenized_with_its_names_split_where_the_student_reads_it_so(backbone):
    shard = Labels(["word1Word2"], ["code"], [""], teacher_vectors(["word1"]), ["key"])
    tokenizer = text_tokenizer(backbone / "tokenizer.json", 12)
    space = fit_base_space([teacher_vectors(WORDS)], seed=0)
    (ids,) = text_set([shard], space, tokenizer, TextTraining()).ids
    assert ids == tokenizer.encode("word1 Word2").ids
    (ids,) = text_set([shard], space, tokenizer, TextTraining(split_identifiers=False)).ids
    assert ids == tokenizer.encode("word1Word2").ids


def test_pictures_are_left_out_of_the_text_students_items(backbone):
    """Their text is where they came from, which says nothing of what they show."""
    tokenizer = text_tokenizer(backbone / "tokenizer.json", 12)
    space = fit_base_space([teacher_vectors(WORDS)], seed=0)
    shards = [labelled(["word5"], "image"), labelled(["word1"]), labelled(["word2"], "code", ["word1"])]
    with_pictures = text_set(shards, space, tokenizer, TextTraining())
    without = text_set(shards[1:], space, tokenizer, TextTraining())
    assert with_pictures.ids == without.ids
    np.testing.assert_array_equal(with_pictures.targets, without.targets)


# -- of one language -----------------------------------------------------------------------------------------------

ENGLISH = ["The cat sleeps on the warm roof of the house.", "Where does the river flow in the winter?"]
FOREIGN = [
    "Die Katze schläft auf dem warmen Dach des Hauses.",
    "Где течёт река зимой?",
    "猫が屋根で寝ています。",
]
CODE = ["schläft(auf, dem_warmen_dach)", "возврат = 1"]


def english_set(backbone, shards, config):
    space = fit_base_space([teacher_vectors(WORDS)], seed=0)
    return text_set(shards, space, text_tokenizer(backbone / "tokenizer.json", 12), config)


def test_an_english_student_is_trained_on_english_texts_and_on_all_code(backbone):
    assert list(map(is_english, ENGLISH + FOREIGN)) == [True] * 2 + [False] * 3
    mixed = labelled([FOREIGN[0], ENGLISH[0], FOREIGN[1], ENGLISH[1], FOREIGN[2]])
    shards = [labelled(FOREIGN), mixed, labelled(CODE, "code"), labelled(["word1"], "image")]
    found = english_set(backbone, shards, TextTraining(english=True))
    expected = english_set(backbone, [labelled(ENGLISH), labelled(CODE, "code")], TextTraining())
    assert found.ids == expected.ids
    np.testing.assert_array_equal(found.targets, expected.targets)


def test_other_students_are_trained_on_every_language(backbone):
    assert len(english_set(backbone, [labelled(ENGLISH + FOREIGN)], TextTraining()).ids) == 5


def test_a_snippet_leans_on_its_own_description_where_items_before_it_are_left_out(backbone):
    snippets = labelled(["word4 word5"], "code", [ENGLISH[0]])
    shards = [labelled(FOREIGN), snippets, labelled([*FOREIGN, *ENGLISH])]
    found = english_set(backbone, shards, TextTraining(english=True))
    expected = english_set(backbone, [snippets, labelled(ENGLISH)], TextTraining())
    assert found.ids == expected.ids
    np.testing.assert_array_equal(found.targets, expected.targets)


# -- held out ------------------------------------------------------------------------------------------------------


def set_of(lengths):
    return TextSet([[1] * length for length in lengths], np.zeros((len(lengths), 1), np.float16))


@pytest.mark.parametrize(("items", "held_out"), [(9, 0), (10, 1), (300, 30), (10_240, 1024), (50_000, 1024)])
def test_a_tenth_is_held_out_up_to_1024(items, held_out):
    assert set_of([1] * items).held_out == held_out
