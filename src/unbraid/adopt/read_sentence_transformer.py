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

from unbraid.adopt.check_modules import MODULES, ROUTER, SETTINGS, check_modules
from unbraid.adopt.model_card import read_licence
from unbraid.adopt.model_files import check_transformer, read_json, read_object
from unbraid.adopt.models import AdoptedModel, TextModel
from unbraid.adopt.prompt_names import task_prompts
from unbraid.adopt.router_mappers import without_mappers
from unbraid.adopt.sentence_encoder import SentenceEncoder, StaticStage, Truncated
from unbraid.adopt.static_tokenizer import without_special_tokens
from unbraid.errors import AdoptError
from unbraid.tasks import BASE, CODE_QUERY, TASKS
from unbraid.teacher.silence_transformers import silence_transformers
from unbraid.training.torchvision_shim import ensure_torchvision
from unbraid.vectors import normalize

# Entries of a transformer's config that say how a file was written, not what its vectors are.
OF_A_FILE = {"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"}
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
    check_modules(folder, allow_pickle=allow_pickle)
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
    base, mappers = without_mappers(model)
    # What `export-st` writes beside our tasks; it names prompts by these as well.
    others = set(model[-1].sub_modules) - set(TASKS) if base is not model else set()
    named = {name: text for name, text in model.prompts.items() if text and name not in others}
    prompts = task_prompts(folder / SETTINGS, named, model.default_prompt_name, chosen)
    model = base
    notes = []
    if left := sorted(others - {BASE, CODE_QUERY}):
        notes.append(f"left out, since their search modes are not known: {', '.join(left)}")
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
    """What decides a stock module's vectors beside its weights and tokenizer."""
    kind = type(module).__name__
    if kind == "StaticEmbedding":
        return {}
    if kind == "Transformer":
        config = module.auto_model.config.to_dict()
        return {key: value for key, value in sorted(config.items()) if key not in OF_A_FILE}
    return {key: value for key, value in module.get_config_dict().items() if not callable(value)}


def _places(folder: Path, model: Any) -> dict[int, Path]:
    """The folder of every module of a loaded model, by the module's id."""
    if not (folder / MODULES).is_file():
        return {id(model[0]): folder}
    found = {}
    # A router of mappers is left out of the model.
    for entry, module in zip(read_json(folder / MODULES), model, strict=False):
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
