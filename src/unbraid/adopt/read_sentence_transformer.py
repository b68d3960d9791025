"""A model of sentence-transformers: its own modules, from token ids to one vector of unit length."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn

from unbraid.adopt.model_card import read_licence
from unbraid.adopt.model_files import check_transformer, check_weights, read_json, read_object
from unbraid.adopt.models import AdoptedModel, TextModel
from unbraid.adopt.prompt_names import task_prompts
from unbraid.adopt.router_mappers import without_mappers
from unbraid.adopt.sentence_encoder import SentenceEncoder, StaticStage, Truncated
from unbraid.adopt.static_tokenizer import without_special_tokens
from unbraid.errors import AdoptError
from unbraid.teacher.silence_transformers import silence_transformers
from unbraid.training.torchvision_shim import ensure_torchvision
from unbraid.vectors import normalize

MODULES, SETTINGS, ROUTER = "modules.json", "config_sentence_transformers.json", "router_config.json"
LIBRARY = "sentence_transformers."
KNOWN = (
    "Transformer",
    "Pooling",
    "Dense",
    "LayerNorm",
    "Normalize",
    "Dropout",
    "StaticEmbedding",
    "Router",
    "Asym",
)
POOLINGS = {
    "mean": "mean",
    "cls": "cls",
    "max": "max",
    "last": "lasttoken",
    "weightedmean": "weightedmean",
    "mean_sqrt_len": "mean_sqrt_len_tokens",
}
LONGEST = 8192  # tokens, of a model that sets no limit


def read_sentence_transformer(
    folder: Path, *, prompts: Mapping[str, str], allow_pickle: bool
) -> AdoptedModel:
    """The model whose modules.json is in `folder`; `prompts` says by task which of its prompts to take.

    Raises AdoptError, which names the file or module, for one that cannot become a bundle.
    """
    _check_files(folder, allow_pickle=allow_pickle)
    return _adopted(folder, _load(folder), prompts)


def read_encoder(folder: Path, pooling: str, *, allow_pickle: bool) -> AdoptedModel:
    """The plain transformers encoder in `folder`, with a `pooling` of POOLINGS. Raises AdoptError as above."""
    if pooling not in POOLINGS:
        raise AdoptError(f"--pooling {pooling!r} is not known: expected one of {', '.join(POOLINGS)}")
    check_transformer(folder, allow_pickle=allow_pickle)
    ensure_torchvision()
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    with _loading(folder):
        first = Transformer(str(folder), model_kwargs=_options(), processor_kwargs={"local_files_only": True})
        modules = [first, Pooling(first.get_embedding_dimension(), POOLINGS[pooling])]
        return _adopted(folder, SentenceTransformer(modules=modules, device="cpu").eval(), {})


def _check_files(folder: Path, *, allow_pickle: bool) -> None:
    """Raise AdoptError for modules that are missing, not of the library, or in files that are not safe."""
    if (folder / SETTINGS).is_file():
        kind = read_object(folder / SETTINGS).get("model_type", "SentenceTransformer")
        if kind != "SentenceTransformer":
            raise AdoptError(
                f"{folder / SETTINGS}: model_type is {kind!r}, which gives no single dense vector a text; expected "
                "'SentenceTransformer'"
            )
    for place, kind, stated in _modules(folder):
        name = kind.rpartition(".")[2]
        if not kind.startswith(LIBRARY):
            raise AdoptError(
                f"{stated}: module {kind!r} is code of the model's own (remote code), which is never run; expected "
                f"modules of sentence-transformers"
            )
        if name not in KNOWN:
            raise AdoptError(f"{stated}: module {kind!r} cannot be adopted; known are {', '.join(KNOWN)}")
        if name in ("Normalize", "Dropout"):
            continue
        if not place.is_dir():
            raise AdoptError(f"{place}: not found, but {stated.name} names it: copy the model again")
        if name == "Transformer":
            check_transformer(place, allow_pickle=allow_pickle)
        elif name in ("Dense", "LayerNorm"):
            read_object(place / "config.json")
            check_weights(place, allow_pickle=allow_pickle)
        elif name == "StaticEmbedding":
            check_weights(place, allow_pickle=allow_pickle)
            if not (place / "tokenizer.json").is_file():
                raise AdoptError(f"{place / 'tokenizer.json'}: not found, and {kind} reads texts with it")
        elif name == "Pooling":
            _check_pooling(place / "config.json")


def _modules(folder: Path) -> Iterator[tuple[Path, str, Path]]:
    """Folder and class of every module, also those in a Router, and the file that names it."""
    stated = folder / MODULES
    entries = read_json(stated)
    if not isinstance(entries, list) or not entries:
        raise AdoptError(f"{stated}: expected a list of modules")
    for entry in entries:
        if not (isinstance(entry, dict) and isinstance(entry.get("type"), str)):
            raise AdoptError(f"{stated}: a module without a type: {str(entry)[:80]}")
        place = folder / str(entry.get("path", ""))
        if not place.resolve().is_relative_to(folder.resolve()):
            raise AdoptError(
                f"{stated}: module path {entry.get('path')!r} leaves the model's folder: refused"
            )
        yield place, entry["type"], stated
        if entry["type"].rpartition(".")[2] in ("Router", "Asym"):
            config = place / ROUTER if (place / ROUTER).is_file() else place / "config.json"
            types = read_object(config).get("types")
            if not isinstance(types, dict) or not types:
                raise AdoptError(f"{config}: expected the modules of the router under types")
            for name, kind in types.items():
                if not (place / name).resolve().is_relative_to(place.resolve()):
                    raise AdoptError(f"{config}: module {name!r} leaves the model's folder: refused")
                yield place / name, str(kind), config


def _check_pooling(path: Path) -> None:
    """Raise AdoptError for a pooling that the library does not have."""
    ensure_torchvision()
    from sentence_transformers.sentence_transformer.modules import Pooling

    config = read_object(path)
    known = Pooling.POOLING_MODES
    mode = config.get("pooling_mode", [])
    modes = [mode] if isinstance(mode, str) else list(mode)
    older = {
        key.removeprefix("pooling_mode_")
        for key, on in config.items()
        if key.startswith("pooling_mode_") and on
    }
    names = {*known, "cls_token", "max_tokens", "mean_tokens", "weightedmean_tokens"}
    if unknown := sorted({*modes, *older} - names):
        raise AdoptError(
            f"{path}: pooling {', '.join(unknown)} is not known: expected some of {', '.join(known)}"
        )


def _load(folder: Path) -> Any:
    """The model, on the CPU in float32; its attention is the plain one, which onnxruntime can fuse."""
    ensure_torchvision()
    from sentence_transformers import SentenceTransformer

    with _loading(folder):
        return SentenceTransformer(
            str(folder), device="cpu", local_files_only=True, model_kwargs=_options()
        ).eval()


def _options() -> dict[str, Any]:
    """How transformers loads a model: attention that onnxruntime can fuse, float32."""
    return {"attn_implementation": "eager", "dtype": torch.float32}


@contextmanager
def _loading(folder: Path) -> Iterator[None]:
    """Silence the libraries, and turn what they raise into an AdoptError that names the folder."""
    with silence_transformers(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except AdoptError:
            raise
        except Exception as error:  # theirs are of many kinds: of the files, of pickle, of torch
            reason = " ".join(str(error).split())[:300]
            raise AdoptError(f"{folder}: cannot be loaded: {type(error).__name__}: {reason}") from error


def _adopted(folder: Path, model: Any, chosen: Mapping[str, str]) -> AdoptedModel:
    """What a loaded model gives."""
    named = {name: text for name, text in model.prompts.items() if text}
    prompts = task_prompts(folder / SETTINGS, named, model.default_prompt_name, chosen)
    model, mappers = without_mappers(model)
    notes = []
    if model.similarity_fn_name != "cosine" and not _ends_in_unit_length(model):
        notes.append(
            f"the model compares vectors by {model.similarity_fn_name}, and a bundle by cosine: the length of its vectors "
            "is lost"
        )
    document = _text(folder, model, "document", prompts)
    query = _text(folder, model, "query", prompts) if _splits(model, prompts) else None
    if query and query.dim != document.dim:
        raise AdoptError(
            f"{folder / MODULES}: the router gives queries {query.dim} and documents {document.dim} dimensions"
        )
    name, licence = folder.name, read_licence(folder)
    return AdoptedModel(name, licence, document, None, query, mappers, tuple(notes))


def _text(folder: Path, model: Any, task: str, prompts: Mapping[str, str]) -> TextModel:
    """The text encoder of the `task` query or document, which differ where the model has a router."""
    modules = _route(model, task)
    first = modules[0]
    tokenizer, max_tokens = _tokenizer(folder, model, first)

    def original(texts: Sequence[str], prompt: str | None) -> np.ndarray:
        vectors = model.encode(list(texts), prompt=prompt or "", task=task, show_progress_bar=False)
        return normalize(np.asarray(vectors, dtype=np.float32))

    def original_ids(text: str) -> list[int]:
        given = model.preprocess([text], prompt=prompts.get(task, ""), task=task)["input_ids"]
        ids: list[int] = given.flatten().tolist()
        return ids

    stages = [_stage(module) for module in modules if type(module).__name__ != "Dropout"]
    if model.truncate_dim:
        stages.append(Truncated(model.truncate_dim))
    prompt = prompts.get(task, "")
    left_out = first._get_prompt_length(prompt) if prompt and _leaves_prompt_out(modules) else 0
    encoder = SentenceEncoder(stages, left_out).eval().requires_grad_(False)
    about = {
        "modules": [[type(one).__name__, _settings(one)] for one in modules],
        "truncate_dim": model.truncate_dim,
    }
    return TextModel(
        encoder, tokenizer, max_tokens, _dim(folder, encoder), prompts, original, about, original_ids
    )


def _tokenizer(folder: Path, model: Any, first: Any) -> tuple[Tokenizer, int]:
    """The tokenizer of the first module, and the number of tokens that it cuts at.

    Raises AdoptError for one that cannot be written as a file.
    """
    kind = type(first).__name__
    if kind == "StaticEmbedding":
        tokenizer = without_special_tokens(first.tokenizer)
        limit = tokenizer.truncation["max_length"] if tokenizer.truncation else None
    elif kind == "Transformer":
        _check_loaded(_places(folder, model)[id(first)], first)
        backend = getattr(first.tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, Tokenizer):
            raise AdoptError(
                f"{folder}: its tokenizer, {type(first.tokenizer).__name__}, has no fast form (tokenizer.json): save it "
                "with a fast tokenizer"
            )
        tokenizer, limit = Tokenizer.from_str(backend.to_str()), first.max_seq_length
    else:
        raise AdoptError(f"{folder / MODULES}: the first module is a {kind}, which reads no text")
    tokenizer.no_padding()
    max_tokens = int(min(limit or LONGEST, LONGEST))
    tokenizer.enable_truncation(max_tokens)
    return tokenizer, max_tokens


def _route(model: Any, task: str) -> list[nn.Module]:
    """The modules that a text of `task` goes through, those of a router in its place."""
    found: list[nn.Module] = []
    for module in model:
        if type(module).__name__ == "Router":
            found += module.sub_modules[module._resolve_route(task=task, modality="text")]
        else:
            found.append(module)
    return found


def _splits(model: Any, prompts: Mapping[str, str]) -> bool:
    """Whether queries and documents go through different modules, or leave different prompts out of the pooling."""
    query, document = (_route(model, task) for task in ("query", "document"))
    if [id(one) for one in query] != [id(one) for one in document]:
        return True
    return _leaves_prompt_out(document) and prompts.get("query", "") != prompts.get("document", "")


def _leaves_prompt_out(modules: Sequence[nn.Module]) -> bool:
    return any(getattr(one, "include_prompt", True) is False for one in modules)


def _stage(module: Any) -> nn.Module:
    """A module as the encoder runs it."""
    if type(module).__name__ == "StaticEmbedding":
        return StaticStage(module.embedding.weight.detach().float())
    stage: nn.Module = module
    return stage


def _settings(module: Any) -> dict[str, Any]:
    """A stock module's own settings, as it saves them; those of a transformer are its weights and tokenizer."""
    if type(module).__name__ in ("Transformer", "StaticEmbedding"):
        return {}
    return {key: value for key, value in module.get_config_dict().items() if not callable(value)}


def _places(folder: Path, model: Any) -> dict[int, Path]:
    """The folder of every module of a loaded model, by the module's id."""
    if not (folder / MODULES).is_file():
        return {id(model[0]): folder}
    found = {}
    for entry, module in zip(
        read_json(folder / MODULES), model, strict=False
    ):  # a router of mappers is left out
        place = folder / entry["path"]
        found[id(module)] = place
        if type(module).__name__ == "Router":
            config = place / ROUTER if (place / ROUTER).is_file() else place / "config.json"
            for route, names in read_object(config)["structure"].items():
                for name, inner in zip(names, module.sub_modules[route], strict=True):
                    found[id(inner)] = place / name
    return found


def _check_loaded(place: Path, first: Any) -> None:
    """Raise AdoptError for weights that miss a tensor, which the library fills with random numbers."""
    with _loading(place):
        _, info = type(first.model).from_pretrained(
            place, config=first.model.config, output_loading_info=True, **_options()
        )
    unused = "pooler." if first.module_output_name == "token_embeddings" else " "
    missing = sorted(
        str(key) for key in (*info["missing_keys"], *info["mismatched_keys"]) if unused not in str(key)
    )
    if missing:
        raise AdoptError(
            f"{place}: the weights lack {', '.join(missing[:3])} ({len(missing)} tensors): copy the model again"
        )


def _ends_in_unit_length(model: Any) -> bool:
    return all(type(_route(model, task)[-1]).__name__ == "Normalize" for task in ("query", "document"))


def _dim(folder: Path, encoder: nn.Module) -> int:
    """How long a vector is. Raises AdoptError for modules that do not fit together."""
    ones = torch.ones((1, 4), dtype=torch.long)
    with torch.inference_mode(), _loading(folder):
        found = encoder(ones, ones)
    return int(found.shape[1])
