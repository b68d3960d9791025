"""A tiny bundle made by the real export from random weights: one encoder each, both text tiers, all four mappers, 512 dimensions."""

import gzip
import io
import json
import os
import shutil
import string
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image

# Before numpy and torch are loaded: tiny models are faster on one thread, above all where cores are shared.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import unbraid
from unbraid.training.torchvision_shim import ensure_torchvision
from unbraid.vectors import normalize

ensure_torchvision()  # before anything imports timm or transformers
# Times mean nothing on a machine that is busy with something else.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

MAX_TOKENS = 24
PICTURE = 32  # pixels
WORDS = "the a of and to in is was cat dog house river red green bright moon search vector model code def return self"


@pytest.fixture(scope="session", autouse=True)
def no_ocr() -> Iterator[None]:
    """Pictures are indexed without reading their words, which takes a second each; the tests of that set it back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unbraid.index.add.can_read_words", lambda: False)
        yield


@pytest.fixture(scope="session")
def local_server() -> Callable[[Path | str], Any]:
    """Makes Qdrant's client in local mode in a folder, which says as a server does which keys of payloads have an index."""
    client = pytest.importorskip("qdrant_client")
    made: dict[tuple[str, str], dict[str, Any]] = {}

    class Local(client.QdrantClient):  # type: ignore[misc,name-defined]
        def __init__(self, place: str) -> None:
            super().__init__(path=place)
            self.place = place

        def create_payload_index(self, collection_name: str, field_name: str, **options: Any) -> Any:
            asked = options["field_schema"]
            kind = client.models.PayloadIndexInfo(data_type=getattr(asked, "type", asked).value, points=0)
            made.setdefault((self.place, collection_name), {})[field_name] = kind
            return super().create_payload_index(collection_name, field_name, **options)

        def get_collection(self, collection_name: str, **options: Any) -> Any:
            about = super().get_collection(collection_name, **options)
            about.payload_schema.update(made.get((self.place, collection_name), {}))
            return about

    return lambda place: Local(str(place))


@dataclass(frozen=True)
class TinyRun:
    """A finished training run, as `unbraid train distill` leaves it, and the bundle exported from it."""

    run: Path
    bundle: Path


def tiny_tokenizer(path: Path) -> int:
    """Write a word-piece tokenizer of letters, digits and a few words; returns its number of pieces."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    characters = string.ascii_lowercase + string.digits
    pieces = [
        *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
        *dict.fromkeys([*characters, *string.punctuation, *WORDS.split()]),
        *(f"##{character}" for character in characters),
    ]
    tokenizer = Tokenizer(
        models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.save(str(path))
    return len(pieces)


def tiny_run(run: Path) -> None:
    """Write small/, nano/, image/ and mappers/ with seeded random weights."""
    import torch
    from msgspec import structs
    from transformers import BertConfig, BertModel

    from unbraid.base_encoders.image_encoder import start_image_encoder
    from unbraid.base_encoders.multi_vector_head import HEAD_FOLDER, MultiVectorHead
    from unbraid.base_encoders.static_encoder import StaticEncoder
    from unbraid.base_encoders.text_encoder import TextEncoder
    from unbraid.distill.recipe import StaticTraining, TextTraining, read_recipe
    from unbraid.mappers import LinearMapper, LowRankMapper, save_mapper
    from unbraid.runtime.preprocess import ImagePreprocess
    from unbraid.training.record import write_record

    torch.manual_seed(0)
    recipe = structs.replace(
        read_recipe(Path("starter")),
        text={"small": TextTraining()},
        document_tier="small",
        query_tier="small",
        backbone_licence="all-MiniLM-L6-v2 (backbone): Apache-2.0",
    )
    (run / "small").mkdir(parents=True)
    (run / "mappers").mkdir()

    pieces = tiny_tokenizer(run / "small" / "tokenizer.json")
    config = BertConfig(
        vocab_size=pieces,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=MAX_TOKENS,
        initializer_range=0.2,  # at BERT's own 0.02 all texts get nearly the same vector
    )
    projection = torch.nn.Linear(32, 512, bias=False)
    TextEncoder(BertModel(config, add_pooling_layer=False), projection).save(run / "small")
    write_record(run / "small", recipe, {}, {"items": 0, "energy kept by base": 1.0})
    head = MultiVectorHead(32, 8, inner=32, hidden=16)
    torch.nn.init.normal_(head.attended.weight, std=0.2)
    torch.nn.init.normal_(head.down.weight, std=0.2)
    head.save(run / "small" / HEAD_FOLDER)

    nano = StaticEncoder(torch.randn(pieces, 16), torch.randn(512, 16))
    nano.save(run / "nano")
    shutil.copy(run / "small" / "tokenizer.json", run / "nano")
    with_nano = structs.replace(recipe, nano=StaticTraining(width=16))
    write_record(run / "nano", with_nano, {}, {"held-out cosine": 0.0})

    preprocess = ImagePreprocess(PICTURE, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    start_image_encoder("timm:test_efficientnet", dim=512, preprocess=preprocess).save(run / "image")
    write_record(run / "image", recipe, {}, {})

    for task in ("query", "document"):
        low_rank = LowRankMapper(torch.eye(512), rank=4)
        torch.nn.init.normal_(low_rank.up, std=0.3)
        save_mapper(low_rank, run / "mappers" / f"{task}.safetensors")
    for task in ("symmetric", "code"):
        linear = LinearMapper(torch.eye(512))
        torch.nn.init.normal_(linear.weight, std=0.05)
        save_mapper(linear, run / "mappers" / f"{task}.safetensors")
    write_record(run / "mappers", recipe, {}, {})


@pytest.fixture(scope="session")
def write_rows():
    """`write_rows(path, rows)`: a gzip file of JSON lines; a row that is a str is written as it is."""

    def write(path: Path, rows: Iterable[object]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(path, "wt", encoding="utf-8") as file:
            file.writelines(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
        return path

    return write


@pytest.fixture
def pairs(tmp_path: Path, write_rows: Callable[[Path, Iterable[object]], Path]) -> Path:
    """300 rows, of which about 1 in 50 are dev."""
    rows = [{"anchor": f"q {number}", "positive": f"d {number}"} for number in range(300)]
    return write_rows(tmp_path / "pairs.jsonl.gz", rows)


@pytest.fixture(scope="session")
def unit():
    """`unit(n, dim, seed)`: random unit vectors float32 [n, dim]; more rows begin with the same ones."""

    def vectors(n: int, dim: int = 512, seed: int = 0) -> np.ndarray:
        return normalize(np.random.default_rng(seed).standard_normal((n, dim)))

    return vectors


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    from unbraid.export import export_bundle

    folder = tmp_path_factory.mktemp("tiny")
    tiny_run(folder / "run")
    export_bundle(folder / "run", folder / "bundle")
    return TinyRun(folder / "run", folder / "bundle")


@pytest.fixture(scope="session")
def tiered(tiny: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """The tiny run with the tiers base, whose embeddings are those of small, and multi, which reads text its own way."""
    import torch
    from msgspec import structs
    from transformers import BertConfig, BertModel

    from unbraid.base_encoders.text_encoder import TextEncoder, load_text_encoder
    from unbraid.distill.recipe import StaticTraining, TextTraining, read_recipe
    from unbraid.export import export_bundle
    from unbraid.training.record import write_record

    folder = tmp_path_factory.mktemp("tiered")
    shutil.copytree(tiny.run, folder / "run")
    torch.manual_seed(1)
    small = load_text_encoder(tiny.run / "small")
    settings = {
        "small": TextTraining(english=True),
        "base": TextTraining(english=True),
        "multi": TextTraining(split_identifiers=False),
    }
    recipe = read_recipe(Path("starter"))
    recipe = structs.replace(recipe, text=settings, document_tier="small", query_tier="base")
    write_record(folder / "run" / "small", recipe, {}, {"items": 0, "energy kept by base": 1.0})
    write_record(
        folder / "run" / "nano",
        structs.replace(recipe, nano=StaticTraining(width=16)),
        {},
        {"held-out cosine": 0.0},
    )
    write_record(folder / "run" / "mappers", recipe, {}, {})
    write_record(
        folder / "run" / "labels", recipe, {}, {"languages": {"en": 500, "de": 300, "ru": 300, "ka": 7}}
    )
    for tier in ("base", "multi"):
        model = BertModel(
            BertConfig(**small.backbone.config.to_dict() | {"num_hidden_layers": 3}), add_pooling_layer=False
        )
        if tier == "base":
            model.embeddings.load_state_dict(small.backbone.embeddings.state_dict())
        TextEncoder(model, torch.nn.Linear(32, 512)).save(folder / "run" / tier)
        shutil.copy(tiny.run / "small" / "tokenizer.json", folder / "run" / tier)
        write_record(folder / "run" / tier, recipe, {}, {"items": 0, "energy kept by base": 1.0})
    export_bundle(folder / "run", folder / "bundle")
    return TinyRun(folder / "run", folder / "bundle")


@pytest.fixture(scope="session")
def tiny_v4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint in the layout of jina-embeddings-v4. Tests must not change it."""
    from unbraid.teacher.tiny import write_tiny_checkpoint

    return write_tiny_checkpoint(tmp_path_factory.mktemp("tiny-v4"))


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of one layer, as wide as all-MiniLM-L6-v2, with its tokenizer. Tests must not change it."""
    import torch
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("tiny-bert")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tiny_tokenizer(folder / "tokenizer.json"),
        hidden_size=384,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=256,
        initializer_range=0.05,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def bundle_folder(tiny: TinyRun) -> Path:
    """The tiny bundle. Tests must not change it; `bundle_copy` is there for that."""
    return tiny.bundle


@pytest.fixture
def bundle_copy(bundle_folder: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the tiny bundle, to be damaged."""
    folder = tmp_path / "bundle"
    shutil.copytree(bundle_folder, folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)  # pytest keeps the folders of its last three runs


@pytest.fixture(params=["fit", "crop"])
def method_folder(request: pytest.FixtureRequest, bundle_copy: Path) -> Path:
    """The tiny bundle, with pictures that are fitted and with pictures that are cropped."""
    from unbraid.bundle import manifest_hash, preprocess_entries
    from unbraid.runtime.preprocess import ImagePreprocess

    manifest = bundle_copy / "bundle.json"
    about = json.loads(manifest.read_text())
    image = about["modalities"]["image"]
    steps = ImagePreprocess(image.pop("size"), image.pop("mean"), image.pop("std"), method=request.param)
    image |= preprocess_entries(steps)
    about["sha256"] = manifest_hash(about)
    manifest.write_text(json.dumps(about))
    return bundle_copy


@pytest.fixture(scope="session")
def large_jpeg() -> bytes:
    """A picture that `decode` may read at an eighth of its size."""
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1200, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(noise).save(content, "JPEG")
    return content.getvalue()


@pytest.fixture(scope="session")
def tiers_folder(tiered: TinyRun) -> Path:
    """The bundle with the tiers base and multi, base for English queries. Tests must not change it."""
    return tiered.bundle


@pytest.fixture(scope="session")
def embedder(bundle_folder: Path) -> unbraid.Embedder:
    """The tiny bundle as loaded by default: int8 text graph, fp32 mappers."""
    return unbraid.load(bundle_folder, threads=1)


@pytest.fixture(scope="session")
def exact(bundle_folder: Path) -> unbraid.Embedder:
    """The tiny bundle on its fp32 graphs, where a vector does not depend on its batch."""
    return unbraid.load(bundle_folder, threads=1, precision="fp32")


@pytest.fixture(scope="session")
def fake_member():
    """`fake_member(spec)`: a member whose vectors depend on the last letter alone, so a query finds its document."""

    class FakeMember:
        modalities = ("text", "code")

        def __init__(self, spec):
            self.spec, self.dim, self.id, self.about = spec, spec.dim, f"{spec.name}-1", {"member": spec.name}
            self.routes = {task: route.name for task, route in spec.routes.items()}

        def encode(self, items, task):
            found = [np.random.default_rng(ord(str(item)[-1])).standard_normal(self.dim) for item in items]
            return normalize(np.stack(found) + 1)

    return FakeMember


@pytest.fixture
def installed_packages(monkeypatch, tmp_path):
    """The names of packages that are installed, as a set to change; their files lie in the test's folder."""
    from types import SimpleNamespace

    from unbraid.io import package_files

    names: set[str] = set()

    def distribution(name):
        if name not in names:
            raise package_files.PackageNotFoundError(name)
        return SimpleNamespace(version="1.0", locate_file=lambda path: tmp_path / path)

    monkeypatch.setattr(package_files, "distribution", distribution)
    return names
