"""`adopt`: from a model of another library to a bundle, step by step."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.adopt.adopted import Adopted
from unbraid.adopt.card import card
from unbraid.adopt.image_graphs import ImageGraphs, sample_pictures, write_image_graphs
from unbraid.adopt.languages import cut_to_languages, what_a_cut_costs
from unbraid.adopt.models import AdoptedModel, TextModel
from unbraid.adopt.own_modes import fit_own_modes, read_sources
from unbraid.adopt.projection import Cost, cost, fit_projection, projected
from unbraid.adopt.prompt_mappers import prompt_mappers, what_is_kept
from unbraid.adopt.read_model import read_model
from unbraid.adopt.sample_texts import sample_texts, vocabulary_words
from unbraid.adopt.task_mappers import write_mappers
from unbraid.adopt.text_graphs import write_text_graphs
from unbraid.adopt.usual_cosines import relevance_of
from unbraid.bundle import FORMAT, MANIFEST, TextSpec, text_entry
from unbraid.errors import AdoptError
from unbraid.export.bundle_writer import bundle_folder, graphs_and_tokenizers, seal
from unbraid.export.text_tiers import file_hash
from unbraid.tasks import SEARCH_MODES
from unbraid.vectors import normalize

MOST_DIMS = 1024
# To which vectors of a projection may be cut: their directions come largest first.
SMALLER = (512, 256, 128, 64)
WORDS = 3000  # of the vocabulary, that a projection is fitted on beside the sample
QUERY = "query"  # the tier of queries, where they have an encoder of their own


def adopt(
    model: str | Path,
    out: Path,
    *,
    revision: str | None = None,
    pooling: str | None = None,
    dim: int | None = None,
    prompts: Mapping[str, str] | None = None,
    allow_pickle: bool = False,
    exact_prompts: bool = False,
    sample: Sequence[str] | None = None,
    pairs: Path | None = None,
    folder_of_texts: Path | None = None,
    languages: Mapping[str, Sequence[str]] | None = None,
    on_step: Callable[[str], object] = lambda step: None,
) -> Adopted:
    """Write `model`, a folder or hub id, as the bundle `out`.

    `dim` asks for fewer dimensions by PCA; `sample` are texts to fit it and to measure on. Vectors with another prompt than
    that of documents are computed from base vectors by mappers; with `exact_prompts` the encoder reads queries behind
    their own prompt. A file of `pairs` and a folder without labels, `folder_of_texts`, give the search modes "pairs" and
    "folder" where fitting surely helps. `languages` are texts by language, and the vocabulary is cut to what they need.
    `on_step` is told what is done next. The other options are those of `read_model`. An existing bundle is replaced, and only when the new one is complete.
    Raises AdoptError, which names the file, module or layer, for a model that cannot become a bundle, DataError for pairs
    that cannot be read or are too few.
    """
    texts = list(sample or sample_texts())
    with bundle_folder(out) as folder:
        on_step("reading the model")
        found = read_model(
            model, revision=revision, pooling=pooling, prompts=prompts, allow_pickle=allow_pickle
        )
        found = _in_languages(found, languages or {})
        found, paid = _in_dim(found, dim, texts)
        text = _text_of(found)
        exact = _query_prompt(found) if exact_prompts else ""
        encoded = ("text", "code", *(("image",) if found.image else ()))
        sources = read_sources({"pairs": pairs, "folder": folder_of_texts}, encoded)
        on_step(f"writing float32 and int8, compared on {len(texts)} texts")
        small = write_text_graphs(text, identity(text), folder, "text", "document", texts)
        query = None
        if found.query:
            on_step("the same for the encoder of queries")
            query = write_text_graphs(found.query, identity(found.query), folder, QUERY, "query", texts)
        if found.image:
            on_step("the same for pictures, compared on drawings")
        image = write_image_graphs(found.image, folder, sample_pictures()) if found.image else None
        asks = _behind(small.spec, exact) if exact else query.spec if query else None
        on_step("fitting what a search needs: mappers of prompts, usual cosines")
        prompted = prompt_mappers(text, texts)
        if asks:
            prompted.pop("query", None)  # the tier of queries reads the prompt itself
        matrices = {task: one.matrix for task, one in prompted.items()}
        for task, own_matrix in found.mappers.items():
            matrices[task] = own_matrix @ matrices[task] if task in matrices else own_matrix
        about = {
            **_manifest(found, small.spec, asks, image),
            "dim": text.dim,
            "dims": [text.dim, *(one for one in SMALLER if paid and one < text.dim)],
            "mappers": write_mappers(folder, text.dim, matrices),
            "relevance": _relevance(found, texts, image),
        }
        about["id"] = file_hash(*graphs_and_tokenizers(folder))
        parities = [*small.parities, *(query.parities if query else ()), *(image.parities if image else ())]
        (folder / "parity.json").write_text(json.dumps([asdict(one) for one in parities], indent=1))
        notes = [*found.notes, *what_is_kept(prompted)]
        if sources:
            on_step("fitting search modes of your own")
            seal(folder, about, "")  # to be loaded
            own = fit_own_modes(folder, sources)
            (folder / MANIFEST).unlink()
            matrices |= {task: one for mapper in own.mappers for task, one in mapper.matrices.items()}
            about["search_modes"] = SEARCH_MODES | {mapper.name: mapper.mode for mapper in own.mappers}
            about["mappers"] = write_mappers(folder, text.dim, matrices)
            about["id"] = file_hash(*graphs_and_tokenizers(folder))
            notes += own.notes
        made = Adopted(found.name, text.dim, small, query, image, paid, parities, notes)
        sizes = {path.name: path.stat().st_size for path in graphs_and_tokenizers(folder)}
        seal(folder, about, card(about, made, sizes))
    return made


def _manifest(
    found: AdoptedModel, spec: TextSpec, asks: TextSpec | None, image: ImageGraphs | None
) -> dict[str, Any]:
    """What bundle.json says of the encoders; `asks` is that of queries, where they have one of their own."""
    modalities = encoder_entries(spec) | ({"image": dict(image.entry)} if image else {})
    ids = "".join(one["id"] for one in modalities.values())
    if found.query and asks:
        ids += asks.id  # another encoder of queries makes another space
    base_id = hashlib.sha256(ids.encode()).hexdigest()[:16]
    return {
        "format": FORMAT,
        "name": found.name,
        "version": base_id[:8],
        "base_id": base_id,
        "modalities": modalities,
        **({"tiers": {QUERY: encoder_entries(asks)}, "query_tier": QUERY} if asks else {}),
        "search_modes": SEARCH_MODES,
        "licences": {found.name: found.licence},
        "scores": {},
    }


def identity(text: TextModel) -> str:
    """Short hash of all that decides a vector: weights, tokenizer, length, prompts, and what the reader says."""
    tensors = sorted(
        hashlib.sha256(f"{one.dtype} {list(one.shape)}".encode() + one.numpy().tobytes()).hexdigest()
        for one in text.encoder.state_dict().values()
    )
    rest = {
        "tokenizer": text.tokenizer.to_str(),
        "max_tokens": text.max_tokens,
        "prompts": dict(text.prompts),
        "about": dict(text.about),
    }
    return hashlib.sha256(json.dumps([tensors, rest], sort_keys=True).encode()).hexdigest()[:16]


def _in_languages(found: AdoptedModel, texts: Mapping[str, Sequence[str]]) -> AdoptedModel:
    """The model with the pieces of its vocabulary that texts by language have; as it is where there are none."""
    if not texts:
        return found
    if found.query:
        raise AdoptError(f"--languages: queries of {found.name} have an encoder of their own: leave it out")
    cut = cut_to_languages(_text_of(found), texts)
    return replace(found, text=cut.text, notes=(*found.notes, *what_a_cut_costs(cut)))


def _in_dim(found: AdoptedModel, dim: int | None, texts: Sequence[str]) -> tuple[AdoptedModel, Cost | None]:
    """The model in `dim` dimensions, and what that costs. Raises AdoptError for more than a bundle may have."""
    text = _text_of(found)
    if dim is None:
        if text.dim > MOST_DIMS:
            raise AdoptError(
                f"{found.name}: its vectors have {text.dim:,} dimensions, and a bundle at most {MOST_DIMS:,}: pass --dim, "
                "such as --dim 512, to keep as many by PCA"
            )
        return found, None
    if not 0 < dim < text.dim or dim > MOST_DIMS:
        raise AdoptError(
            f"--dim {dim}: expected fewer than the model's own {text.dim:,} dimensions and at most {MOST_DIMS:,}"
        )
    if found.image:
        raise AdoptError(f"--dim {dim}: {found.name} has an image encoder, and PCA is fitted on texts alone")
    prompt = text.prompts.get("document")
    words = vocabulary_words(text.tokenizer, max(WORDS, 3 * dim))
    vectors = text.original([*texts[1::2], *words], prompt)
    matrix = fit_projection(vectors, dim)
    paid = cost(matrix, text.original(texts[::2], prompt))
    query = found.query and projected(found.query, matrix)
    mappers = {task: matrix @ one @ matrix.T for task, one in found.mappers.items()}
    return replace(found, text=projected(text, matrix), query=query, mappers=mappers), paid


def _text_of(found: AdoptedModel) -> TextModel:
    if found.text is None:
        raise AdoptError(f"{found.name}: has no text encoder, and a bundle needs one")
    return found.text


def _query_prompt(found: AdoptedModel) -> str:
    """The prompt of queries. Raises AdoptError for a model whose queries have none of their own, or their own encoder."""
    prompts = _text_of(found).prompts
    prompt = prompts.get("query", "")
    if found.query or prompt == prompts.get("document", ""):
        raise AdoptError(
            f"--exact-prompts: queries of {found.name} "
            f"{'have an encoder of their own' if found.query else 'have no prompt of their own'}: leave it out"
        )
    return prompt


def _behind(spec: TextSpec, prompt: str) -> TextSpec:
    """The same graphs behind another prompt."""
    name = hashlib.sha256(f"{spec.id} {prompt}".encode()).hexdigest()[:16]
    return replace(spec, id=name, prefix=prompt)


def encoder_entries(spec: TextSpec) -> dict[str, Any]:
    """The entries of a text encoder in bundle.json: it reads code as well."""
    return {"text": text_entry(spec), "code": text_entry(spec)}


def _relevance(found: AdoptedModel, texts: Sequence[str], image: ImageGraphs | None) -> dict[str, Any]:
    """The measure of a search by vectors; see usual_cosines.py."""
    text = _text_of(found)
    asks = found.query or text
    questions, documents = [one[:60] for one in texts[::3]], texts[1::3]

    def mapped(vectors: np.ndarray, task: str) -> np.ndarray:
        return normalize(vectors @ found.mappers[task].T) if task in found.mappers else vectors

    return relevance_of(
        mapped(asks.original(questions, asks.prompts.get("query")), "query"),
        mapped(text.original(documents, text.prompts.get("document")), "document"),
        image.vectors if image else None,
    )
