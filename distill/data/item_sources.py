"""The sources of a joined teacher's items, `SOURCES`, and of its dev sets, `HELD_OUT`.

No row is in both: a dev set's rows are never labelled for training.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Group: TypeAlias = Literal["english", "code", "foreign"]
Row: TypeAlias = Mapping[str, Any]

ENGLISH = "en"
# Tags of the files -> the two letters used here. Both scripts of Chinese are "zh", both Norwegians "no".
_TAGS = dict(
    pair.split(":")
    for pair in (
        "eng:en deu:de fra:fr spa:es ita:it por:pt nld:nl pol:pl rus:ru ukr:uk ces:cs jpn:ja kor:ko arb:ar hin:hi tur:tr"
        " vie:vi ind:id swe:sv ell:el ron:ro heb:he tha:th fin:fi ben:bn zho:zh nb:no nn:no"
    ).split()
)


def language_tag(value: str) -> str:
    """The language of a file's tag such as "zho-CN" or "pt_BR": "zh", "pt"."""
    first = value.replace("_", "-").partition("-")[0].lower()
    return _TAGS.get(first, first)


@dataclass(frozen=True)
class ItemSource:
    """One file of rows, and which of their fields are items.

    `language` is that of the fields `text`; "row" means that the row's `lang` field says it. `english` names the field
    with the English side of a translation, which is an item too. `weight` is how often a row is drawn beside others of
    its group. With `sentences`, every sentence of `text` is an item as well.
    """

    file: str  # below the data folder, without .jsonl.gz
    licence: str
    group: Group
    text: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    language: str = ENGLISH
    english: str = ""
    weight: float = 1.0
    sentences: bool = False
    keep: Callable[[Row], bool] = field(default=lambda row: True)


def _trained_collection(row: Row) -> bool:
    """MedQuAD's collections of rare and genetic diseases; the pages of CancerGov and MedlinePlus are held out."""
    return row.get("source") not in MEDQUAD_HELD_OUT


def _not_owasp(row: Row) -> bool:
    return not str(row.get("src", "")).startswith("owasp")


def _not_captions(row: Row) -> bool:
    return row.get("set") not in CAPTION_SETS


def _translations(
    file: str, licence: str, *, weight: float = 1.0, keep: Callable[[Row], bool] = lambda row: True
) -> ItemSource:
    """A file of English anchors and their translations, `lang` saying into what."""
    return ItemSource(
        file, licence, "foreign", ("positive",), language="row", english="anchor", weight=weight, keep=keep
    )


MEDQUAD_HELD_OUT = ("1_CancerGov_QA", "4_MPlus_Health_Topics_QA")
CAPTION_SETS = ("2014/images", "2015/images")  # image captions, as SICK's sentences are
STSB_LANGUAGES = ("de", "es", "fr", "it", "ja", "nl", "pl", "pt", "ru", "zh")
MINED_CODE, MINED_DOCS = "code/packages", "text/package_docs"  # what `unbraid train pairs` writes

_STS = "scores CC BY-SA 4.0; sentences under the licences of their sources (MSRpar: Microsoft Research terms)"
_PAIR = ("anchor", "positive")

SOURCES: tuple[ItemSource, ...] = (
    # -- English
    ItemSource("text/squad_sentences.part1", "CC BY-SA 4.0", "english", _PAIR),
    ItemSource("text/squad_sentences.part2", "CC BY-SA 4.0", "english", _PAIR),
    ItemSource("text/medquad.train", "CC BY 4.0", "english", _PAIR, keep=_trained_collection),
    ItemSource("text/openstax_passages", "CC BY 4.0", "english", ("title", "text"), sentences=True),
    ItemSource("text/openstax_passages2", "CC BY 4.0", "english", ("title", "text"), sentences=True),
    ItemSource("text/openstax_terms", "CC BY 4.0", "english", _PAIR),
    ItemSource("text/openstax_terms2", "CC BY 4.0", "english", _PAIR),
    ItemSource("text/nq_open_queries", "CC BY-SA 3.0", "english", ("query",), weight=2.0),
    ItemSource(MINED_DOCS, "licences of the packages", "english", _PAIR, weight=1.5),
    ItemSource("sts/stsb.en.train", _STS, "english", ("a", "b"), weight=1.5),
    ItemSource("sts/sts12-16", _STS, "english", ("a", "b"), keep=_not_captions),
    ItemSource("sts/banking77.train", "CC BY 4.0", "english", ("text",)),
    # -- code: a description and its snippet come together
    ItemSource("code/py_stdlib", "PSF-2.0", "code", ("anchor",), ("positive",)),
    ItemSource("code/concode", "C-UDA 1.0", "code", ("anchor",), ("positive",)),
    ItemSource("code/java_csharp", "C-UDA 1.0", "code", (), _PAIR, weight=0.4),
    ItemSource("code/conala.train", "CC BY-SA 4.0", "code", ("anchor",), ("positive",), weight=2.0),
    ItemSource("code/nl2bash", "MIT", "code", ("anchor",), ("positive",)),
    ItemSource("code/tldr_cmd", "CC BY 4.0", "code", ("anchor",), ("positive",), weight=0.5),
    ItemSource(MINED_CODE, "licences of the packages", "code", ("anchor",), ("positive",), weight=1.5),
    # -- other languages with their English side
    _translations("xling/ntrex", "CC BY-SA 4.0"),
    _translations("xling/tldr_parallel", "CC BY 4.0", weight=0.6),
    _translations("xling/msdocs", "C-UDA 1.0", weight=0.5),
    _translations("xling/docs_po", "CC0, PSF, CC BY 4.0, BSD-3"),
    _translations("xling/docs_md", "CC BY 4.0, Apache-2.0, MIT, CC BY-SA 4.0", keep=_not_owasp),
    _translations("xling/cldr_terms", "Unicode v3", weight=0.25),
    _translations("xling/questions_parallel", "CC BY-SA 4.0, CC BY 4.0", weight=2.0),
    *(
        ItemSource(f"sts/stsb.{language}.train", _STS, "foreign", ("a", "b"), language=language)
        for language in STSB_LANGUAGES
    ),
    # -- other languages alone
    ItemSource("text/qa_jaquad", "CC BY-SA 3.0", "foreign", _PAIR, language="ja", weight=0.6),
    ItemSource("text/qa_drcd", "CC BY-SA 3.0", "foreign", _PAIR, language="zh", weight=0.8),
    ItemSource("text/qa_exams", "CC BY-SA 4.0", "foreign", _PAIR, language="row", weight=0.5),
    ItemSource("text/openstax_passages_es_pl", "CC BY 4.0", "foreign", ("text",), language="row", weight=0.6),
    ItemSource("text/openstax_terms_es_pl", "CC BY 4.0", "foreign", _PAIR, language="row", weight=0.5),
    ItemSource("text/msdocs_passages_nl", "CC BY 4.0", "foreign", ("text",), language="nl"),
    ItemSource("sts/jsts.train", "CC BY-SA 4.0", "foreign", ("a", "b"), language="ja", weight=0.5),
)


@dataclass(frozen=True)
class HeldOut:
    """One dev set: rows of a source that no training item comes from; `query` and `document` name their fields.

    `by` names the field with the language, by which the set is split into one for each; `keep` chooses rows.
    """

    name: str
    file: str
    kind: Literal["retrieval", "code", "sts"]
    query: str = "anchor"
    document: str = "positive"
    language: str = ENGLISH  # of the queries
    by: str = ""
    keep: Callable[[Row], bool] = field(default=lambda row: True)
    first_sentence: bool = False  # of the query field alone: the fields are whole paragraphs

    @property
    def english_documents(self) -> bool:
        """Whether the documents are English: those of sets with queries in many languages are."""
        return bool(self.by) or self.language == ENGLISH


def _held_out_collection(row: Row) -> bool:
    return not _trained_collection(row)


def _owasp(row: Row) -> bool:
    return not _not_owasp(row)


def _english_paragraph(row: Row) -> bool:
    return row.get("lang") == ENGLISH


def _captions(row: Row) -> bool:
    return not _not_captions(row)


HELD_OUT: tuple[HeldOut, ...] = (
    # English retrieval: health pages of two sites, Wikipedia paragraphs, docstrings of two packages.
    HeldOut("medquad-sites", "text/medquad.train", "retrieval", keep=_held_out_collection),
    HeldOut("medquad-sites", "text/medquad.dev", "retrieval", keep=_held_out_collection),
    HeldOut("afriqa-en", "text/qa_afriqa", "retrieval", query="translated_question", keep=_english_paragraph),
    HeldOut("package-docs", "text/package_docs_held_out", "retrieval"),
    # Code: six languages, short Python programs, functions of repositories, of two packages.
    HeldOut("csn6", "code/csn_cloze6", "code"),
    HeldOut("mbpp", "code/mbpp", "code"),
    HeldOut("py-docstrings", "code/py_docstrings.dev", "code"),
    HeldOut("packages", "code/packages_held_out", "code"),
    # Similarity: English, ten translations, Japanese and Korean of their own, image captions as in SICK.
    HeldOut("stsb.en", "sts/stsb.en.dev", "sts"),
    *(HeldOut(f"stsb.{one}", f"sts/stsb.{one}.dev", "sts", language=one) for one in STSB_LANGUAGES),
    HeldOut("jsts", "sts/jsts.dev", "sts", language="ja"),
    HeldOut("klue", "sts/klue_sts", "sts", language="ko"),
    HeldOut("captions", "sts/sts12-16", "sts", keep=_captions),
    # Question -> paragraph in five languages.
    HeldOut("jsquad.ja", "text/jsquad", "retrieval", language="ja"),
    HeldOut("cmrc.zh", "text/qa_cmrc2018", "retrieval", language="zh"),
    HeldOut("squad.it", "text/qa_squad_it", "retrieval", language="it"),
    HeldOut("arcd.ar", "text/qa_arcd", "retrieval", language="ar"),
    HeldOut("iapp.th", "text/qa_iapp_th", "retrieval", language="th"),
    # Question -> English paragraph: African questions, arithmetic stories, paragraphs on web security.
    HeldOut("afriqa", "text/qa_afriqa", "retrieval", language="row", by="qlang", keep=_english_paragraph),
    HeldOut("mgsm", "xling/mgsm_problems", "retrieval", "positive", "anchor", language="row", by="lang"),
    HeldOut(
        *("owasp", "xling/docs_md", "retrieval", "positive", "anchor", "row", "lang"),
        keep=_owasp,
        first_sentence=True,
    ),
)
