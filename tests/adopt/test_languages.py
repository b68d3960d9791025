"""A vocabulary cut to some languages."""

import numpy as np
import pytest

import unbraid
from unbraid.adopt import adopt
from unbraid.adopt.languages import LEAST, cut_to_languages, read_languages, what_a_cut_costs
from unbraid.adopt.read_model import read_model
from unbraid.errors import AdoptError

GERMAN = "der Hund und die Katze schlafen nicht in dem Haus Baum Fluss Stein lesen schreiben wenn es regnet".split()
ENGLISH = "the dog and a cat do not sleep in this house tree river stone read write when it rains".split()


def lines(words, count, seed=0):
    rng = np.random.default_rng(seed)
    return [f"{' '.join(rng.choice(words, 9))} {number}" for number in range(count)]


@pytest.fixture(scope="module")
def multilingual(tmp_path_factory):
    """The folder of a model with a Unigram vocabulary of both languages. Tests must not change it."""
    import torch
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    words = [f"▁{word}" for word in dict.fromkeys([*GERMAN, *ENGLISH])]
    letters = dict.fromkeys("▁0123456789abcdefghijklmnopqrstuvwxyzBDFHKSüß")
    vocabulary = [(piece, 0.0) for piece in special] + [(word, -5.0) for word in words]
    vocabulary += [(letter, -9.0) for letter in letters]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens([AddedToken(piece, special=True) for piece in special])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        pad_token_id=1,
        initializer_range=0.2,
    )
    folder = tmp_path_factory.mktemp("multilingual") / "plain"
    BertModel(config).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", model_max_length=64
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(multilingual):
    return read_model(multilingual, pooling="mean").text


def test_texts_of_the_languages_chosen_keep_their_vectors(model):
    texts = {"de": lines(GERMAN, 200)}
    cut = cut_to_languages(model, texts)
    before, after = cut.pieces
    assert after < before and cut.parameters[0] - cut.parameters[1] == 32 * (before - after)
    assert cut.cost["de"].cosine > 0.9999 and cut.cost["de"].agreement > 0.99 and cut.cost["de"].texts == 40
    np.testing.assert_allclose(
        cut.text.original(texts["de"], None), model.original(texts["de"], None), atol=1e-4
    )
    assert not cut.text.tokenizer.token_to_id("▁sleep") and cut.text.tokenizer.token_to_id("▁Hund")
    assert cut.text.tokenizer.truncation == model.tokenizer.truncation


def test_another_language_is_read_in_smaller_pieces_and_the_uncut_model_stays(model):
    before = model.original(["the dog and a cat"], None)
    cut = cut_to_languages(model, {"de": lines(GERMAN, 200)})
    assert 3 not in cut.text.tokenizer.encode("the dog and a cat").ids  # no unknown piece
    assert (cut.text.original(["the dog and a cat"], None) * before).sum() < 0.99
    np.testing.assert_array_equal(model.original(["the dog and a cat"], None), before)


def test_the_cost_is_of_texts_that_were_not_counted(model):
    texts = [
        text.replace(" ", " sleep ") if row % 5 == 0 else text for row, text in enumerate(lines(GERMAN, 200))
    ]
    cost = cut_to_languages(model, {"de": texts}).cost["de"]
    assert cost.cosine < 0.999
    lost = what_a_cut_costs(cut_to_languages(model, {"de": texts}))
    assert lost[0].startswith("vocabulary cut from") and lost[1].startswith(
        f"de: mean cosine {cost.cosine:.4f}"
    )


def test_a_vocabulary_of_another_type_is_refused(published):
    with pytest.raises(
        AdoptError, match=r"--languages: a tokenizer of type WordPiece, expected Unigram.*leave it out"
    ):
        cut_to_languages(read_model(published).text, {"de": lines(GERMAN, 100)})


def test_lines_are_told_apart_by_their_language(tmp_path, monkeypatch):
    monkeypatch.setattr("unbraid.adopt.languages.language_of", lambda text: "de" if "Hund" in text else "en")
    file = tmp_path / "texts.txt"
    german = [f"der Hund schläft in dem Haus {number}" for number in range(LEAST)]
    file.write_text("\n".join([*german, *german, "Hund", "the dog sleeps in the house"]), encoding="utf-8")
    assert read_languages([file], ["de"]) == {"de": german}
    with pytest.raises(AdoptError, match=r"1 lines of en with 20 characters or more, expected at least 100"):
        read_languages([file], ["de", "en"])
    file.write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(AdoptError, match=r"texts\.txt: cannot be read as text"):
        read_languages([file], ["de"])


def test_a_bundle_of_the_cut_model_is_smaller_and_says_what_it_lost(multilingual, tmp_path):
    texts = lines(GERMAN, 200)
    made = adopt(multilingual, tmp_path / "bundle", pooling="mean", languages={"de": texts})
    assert made.notes[0].startswith("vocabulary cut from") and made.notes[1].startswith("de: mean cosine")
    found = unbraid.load(tmp_path / "bundle", precision="fp32").encode(texts[:20])
    original = read_model(multilingual, pooling="mean").text.original(texts[:20], None)
    np.testing.assert_allclose(found, original, atol=1e-4)
    assert "de: mean cosine" in (tmp_path / "bundle" / "README.md").read_text()


def test_languages_and_text_in_them_belong_together(tmp_path):
    from unbraid.cli.adopt import _languages
    from unbraid.errors import ItemError

    file = tmp_path / "texts.txt"
    file.write_text("\n".join(lines(GERMAN, 150)), encoding="utf-8")
    assert _languages(None, []) == {}
    for chosen, files in (("de", []), (None, [file])):
        with pytest.raises(AdoptError, match="--languages and --counted-on belong together"):
            _languages(chosen, files)
    with pytest.raises(ItemError, match="language 'german': expected a code"):
        _languages("de,german", [file])
    assert len(_languages(" de", [file])["de"]) > LEAST
