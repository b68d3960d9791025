import gzip
import io
import json
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from unbraid.errors import DataError
from unbraid.evaluation.datasets.dataset import Retrieval, Sts, sample
from unbraid.evaluation.datasets.read_dataset import read_dataset
from unbraid.items import Code


def write_lines(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(buffer, "JPEG")
    return buffer.getvalue()


def write_tar(path: Path, members: dict[str, bytes | tarfile.TarInfo]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def beir(
    folder: Path, *, qrels: str = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n", split="test"
) -> Path:
    write_lines(
        folder / "corpus.jsonl.gz",
        [
            {"_id": "d1", "title": "Bees", "text": "make honey"},
            {"_id": "d2", "title": "", "text": "Wasps sting"},
            {"_id": 3, "text": ""},
        ],
    )
    write_lines(
        folder / "queries.jsonl", [{"_id": "q1", "text": "who makes honey"}, {"_id": "q2", "text": "x"}]
    )
    (folder / "qrels").mkdir()
    (folder / "qrels" / f"{split}.tsv").write_text(qrels)
    return folder


def retrieval(path: Path, **options) -> Retrieval:
    dataset = read_dataset(path, **options)
    assert isinstance(dataset, Retrieval)
    return dataset


def test_beir_folder_joins_title_and_text_and_keeps_judged_queries(tmp_path):
    dataset = retrieval(beir(tmp_path / "bees"))
    assert dataset.documents == {"d1": "Bees make honey", "d2": "Wasps sting", "3": ""}
    assert dataset.queries == {"q1": "who makes honey"}
    assert dataset.qrels == {"q1": {"d1": 2, "d2": 0}}
    assert (dataset.name, dataset.mode, dataset.document_modality) == ("bees", "retrieval", "text")


def test_beir_prefers_test_then_dev_and_takes_the_named_split(tmp_path):
    folder = beir(tmp_path / "set", split="train")
    assert retrieval(folder).qrels["q1"]["d1"] == 2
    (folder / "qrels" / "dev.tsv").write_text("q1\td2\t1\n")  # no header
    assert retrieval(folder).qrels == {"q1": {"d2": 1}}
    assert retrieval(folder, split="train").qrels["q1"]["d1"] == 2
    with pytest.raises(DataError, match=r"\['dev', 'train'\], expected test\.tsv"):
        read_dataset(folder, split="test")


def test_beir_document_that_is_the_query_itself_is_ignored(tmp_path):
    folder = beir(tmp_path / "arguana", qrels="q1\td1\t1\n")
    write_lines(folder / "queries.jsonl", [{"_id": "q1", "text": "honey"}])
    corpus = [{"_id": "q1", "text": "honey"}, {"_id": "d1", "text": "wax"}]
    write_lines(folder / "corpus.jsonl.gz", corpus)
    assert retrieval(folder).ignored == {"q1": "q1"}
    write_lines(folder / "corpus.jsonl.gz", [{"_id": "q1", "text": "another text"}, corpus[1]])
    assert retrieval(folder).ignored == {}, "the same id alone is a coincidence"


def test_beir_relevant_documents_absent_from_the_corpus_are_warned_about(tmp_path):
    with pytest.warns(UserWarning, match="1 relevant documents, such as 'd9', are not in"):
        dataset = retrieval(beir(tmp_path / "set", qrels="q1\td1\t1\nq1\td9\t1\n"))
    assert dataset.qrels["q1"] == {"d1": 1, "d9": 1}


def test_a_pair_may_have_a_query_in_place_of_an_anchor(tmp_path):
    rows = [{"query": "q", "positive": "p"}, {"query": "r", "positive": "s"}]
    dataset = read_dataset(write_lines(tmp_path / "pairs.jsonl", rows))
    assert list(dataset.queries.values()) == ["q", "r"]


def test_repeated_anchor_has_several_relevant_positives(tmp_path):
    rows = [
        {"anchor": "a", "positive": "x"},
        {"anchor": "b", "positive": "y"},
        {"anchor": "a", "positive": "y"},
        {"anchor": "a", "positive": "x"},
    ]
    dataset = retrieval(write_lines(tmp_path / "pairs.jsonl.gz", rows))
    assert list(dataset.queries.values()) == ["a", "b"]
    assert list(dataset.documents.values()) == ["x", "y"]
    assert dataset.qrels == {"q0": {"d0": 1, "d1": 1}, "q1": {"d1": 1}}
    assert dataset.name == "pairs"


@pytest.mark.parametrize(
    ("lang", "mode", "types", "expected_mode"),
    [
        ("python", None, (str, Code), "code"),
        ("java>csharp", None, (Code, Code), "code"),
        ("deu", None, (str, str), "retrieval"),
        (None, "code", (str, Code), "code"),
        ("python", "retrieval", (str, Code), "retrieval"),
        (None, "symmetric", (str, str), "symmetric"),
    ],
)
def test_pair_language_or_mode_decides_what_is_code(tmp_path, lang, mode, types, expected_mode):
    path = write_lines(tmp_path / "p.jsonl", [{"anchor": "sum", "positive": "a + b", "lang": lang}])
    dataset = retrieval(path, mode=mode)
    assert (type(dataset.queries["q0"]), type(dataset.documents["d0"])) == types
    assert dataset.mode == expected_mode
    assert dataset.document_modality == ("code" if types[1] is Code else "text")


def test_split_keeps_its_rows_and_names_those_there_are(tmp_path):
    rows = [{"anchor": s, "positive": s + "+", "split": s} for s in ("train", "dev")]
    path = write_lines(tmp_path / "p.jsonl", rows)
    assert list(retrieval(path, split="dev").documents.values()) == ["dev+"]
    with pytest.raises(DataError, match=r"splits \['dev', 'train'\], expected 'test'"):
        read_dataset(path, split="test")


def test_sts_file(tmp_path):
    path = write_lines(
        tmp_path / "s.jsonl", [{"a": "x", "b": "y", "score": 1}, {"a": "u", "b": "v", "score": 0.5}]
    )
    assert read_dataset(path) == Sts("s", ["x", "u"], ["y", "v"], [1.0, 0.5])


def test_sample_keeps_the_corpus_whole_and_is_the_same_each_time(tmp_path):
    rows = [{"anchor": f"a{i}", "positive": f"p{i}"} for i in range(50)]
    path = write_lines(tmp_path / "p.jsonl", rows)
    first, second = retrieval(path, limit=5), retrieval(path, limit=5)
    assert first == second
    assert (len(first.queries), len(first.documents)) == (5, 50)
    assert all(
        first.documents[d] == f"p{query[1:]}" for q, query in first.queries.items() for d in first.qrels[q]
    )
    sts = Sts("s", ["a", "b", "c"], ["d", "e", "f"], [1.0, 2.0, 3.0])
    assert sample(sts, 9) is sts
    with pytest.raises(ValueError, match="limit is 0"):
        sample(sts, 0)


CAPTIONED = [
    {"file": "x/1.jpg", "caption": "a red square", "alt": "other", "split": "train"},
    {"file": "2.jpg", "caption": "", "alt": " a red square", "split": "dev"},
    {"file": "3.jpg", "caption": None, "title": {"text": "no string"}, "split": "dev"},
]


def test_images_of_a_tar_are_paths_and_a_repeated_caption_has_several(tmp_path):
    path = write_lines(tmp_path / "set.jsonl.gz", CAPTIONED)
    write_tar(
        tmp_path / "set.tar", {"x/1.jpg": jpeg(), "./2.jpg": jpeg(), "3.jpg": jpeg(), "unnamed.jpg": b"?"}
    )
    dataset = retrieval(path)
    assert dataset.queries == {"q0": "a red square"}
    assert dataset.qrels == {"q0": {"d0": 1, "d1": 1}}
    assert dataset.document_modality == "image"
    pictures = list(dataset.documents.values())
    assert all(isinstance(p, Path) and p.read_bytes() == jpeg() for p in pictures)
    assert len(pictures) == 3
    folder = pictures[2].parent
    assert not (folder / "unnamed.jpg").exists()
    sampled = sample(dataset, 1)
    del dataset
    assert folder.exists(), "a sample keeps the pictures it points to"
    del sampled
    assert not folder.exists()


def test_images_of_a_folder_and_a_split(tmp_path):
    path = write_lines(tmp_path / "set.jsonl", CAPTIONED)
    (tmp_path / "set" / "x").mkdir(parents=True)
    for name in ("x/1.jpg", "2.jpg", "3.jpg"):
        (tmp_path / "set" / name).write_bytes(jpeg())
    dataset = retrieval(path, split="dev")
    assert list(dataset.documents.values()) == [tmp_path / "set" / "2.jpg", tmp_path / "set" / "3.jpg"]


def link(kind: bytes, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo("a.jpg")
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("name", "members", "message"),
    [
        ("../a.jpg", {"../a.jpg": b"x"}, "line 1: found file '../a.jpg'"),
        ("/etc/a.jpg", {"/etc/a.jpg": b"x"}, "line 1: found file '/etc/a.jpg'"),
        ("a.sh", {"a.sh": b"x"}, r"expected a relative path ending in one of \['.avif'"),
        ("a.jpg", {"a.jpg": link(tarfile.SYMTYPE, "/etc/passwd")}, "expected a regular file of that name in"),
        ("a.jpg", {"a.jpg": link(tarfile.LNKTYPE, "../../etc/passwd")}, "expected a regular file"),
        ("a.jpg", {"a.jpg": link(tarfile.FIFOTYPE, "")}, "expected a regular file"),
        ("a.jpg/b.jpg", {"a.jpg": b"x", "a.jpg/b.jpg": b"x"}, None),
        ("a.jpg", {}, "found file 'a.jpg'"),
    ],
)
def test_tar_members_never_leave_the_folder(tmp_path, name, members, message):
    path = write_lines(tmp_path / "in" / "set.jsonl", [{"file": name, "caption": "c"}])
    write_tar(tmp_path / "in" / "set.tar", members)
    if message is None:
        dataset = retrieval(path)
        assert dataset.documents["d0"].read_bytes() == b"x"
        return
    with pytest.raises(DataError, match=message):
        read_dataset(path)
    assert sorted(f.name for f in tmp_path.rglob("*") if f.is_file()) == ["set.jsonl", "set.tar"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "found no rows"),
        (
            b'{"anchor": "a", "positive": "p"}\n{"anchor": "a"',
            'line 2: found \'{"anchor": "a"\', expected JSON',
        ),
        (b'{"anchor": "a", "positive": "p"}\n\n[1]\n', r"line 3: found '\[1\]', expected a JSON object"),
        (
            b'{"anchor": "a", "positive": "p"}\n{"anchor": "a"}\n',
            "line 2: found no field positive, expected text",
        ),
        (b'{"anchor": "a", "positive": 7}\n', "line 1: found positive '7'"),
        (b'{"anchor": "a", "positive": ""}\n', "line 1: found positive ''"),
        (b'{"a": "x", "b": "y", "score": NaN}\n', "line 1: found score nan, expected a number"),
        (b'{"a": "x", "b": "y", "score": 1' + b"0" * 400 + b"}\n", "line 1: found score 1"),
        (b'{"a": "x", "b": "y", "score": true}\n', "found score True"),
        (b'{"text": "x"}\n', r"line 1: found the fields \['text'\], expected query \(or anchor\) and positive"),
        (
            b'{"file": "a.jpg", "caption": ""}\n',
            "found no row with text in any of the fields caption, alt, title",
        ),
        (b'{"file": "a.jpg", "caption": "c"}\n', r"found neither set\.tar nor a folder set/"),
        (b'{"anchor": "\xff"}\n', "line 1: found byte 0xff, expected UTF-8"),
        (b"[" * 100_000, "line 1"),
        (b"\x1f\x8bnonsense", "after line 0: cannot be read"),
    ],
)
def test_broken_file_is_named_with_its_line(tmp_path, text, message):
    path = tmp_path / "set.jsonl"
    path.write_bytes(text)
    with pytest.raises(DataError, match=message) as caught:
        read_dataset(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            "qrels/test.tsv",
            "query-id\tcorpus-id\tscore\nq1\td1\tgood\n",
            "line 2: found 'q1\\\\td1\\\\tgood'",
        ),
        ("qrels/test.tsv", "q1 d1 1\n", "line 1: found 'q1 d1 1'"),
        ("qrels/test.tsv", "q1\td1\t0\n", "found no relevant document for a query"),
        (
            "corpus.jsonl.gz",
            '{"_id": "d1", "text": "a"}\n{"_id": "d1", "text": "b"}\n',
            "line 2: found _id 'd1'",
        ),
        ("corpus.jsonl.gz", '{"_id": "d1"}\n', "line 1: found no field text"),
        ("queries.jsonl", '{"text": "a"}\n', "line 1: found _id None"),
    ],
)
def test_broken_beir_folder_is_named_with_its_line(tmp_path, file, text, message):
    folder = beir(tmp_path / "set")
    (folder / file).write_text(text)  # also: plain text in a file called .gz is read as what it is
    with pytest.raises(DataError, match=message) as caught:
        read_dataset(folder)
    assert str(folder / file) in str(caught.value)


def test_absent_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.jsonl: cannot be read: No such file"):
        read_dataset(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match=r"found no corpus\.jsonl or corpus\.jsonl\.gz"):
        read_dataset(tmp_path)


# --- whatever the bytes are, the answer is a data set or a DataError ---

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
FIELDS = st.sampled_from(
    ["_id", "a", "b", "score", "anchor", "positive", "file", "caption", "lang", "split", "text"]
)
ROWS = st.lists(st.dictionaries(FIELDS, VALUES, max_size=6), max_size=4)


def read_or_data_error(path: Path, **options) -> None:
    try:
        read_dataset(path, **options)
    except DataError:
        pass


@given(ROWS, st.sampled_from([None, "dev"]))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_json_rows_are_read_or_refused(rows, split):
    with tempfile.TemporaryDirectory() as folder:
        read_or_data_error(write_lines(Path(folder) / "set.jsonl", rows), split=split)


@given(ROWS, ROWS, st.text(max_size=40))
@settings(max_examples=100, deadline=None)
def test_any_beir_folder_is_read_or_refused(corpus, queries, qrels):
    with tempfile.TemporaryDirectory() as folder:
        write_lines(Path(folder) / "corpus.jsonl", corpus)
        write_lines(Path(folder) / "queries.jsonl", queries)
        (Path(folder) / "qrels").mkdir()
        (Path(folder) / "qrels/test.tsv").write_bytes(qrels.encode("utf-8", "surrogatepass"))
        read_or_data_error(Path(folder))


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_truncated_or_flipped_gzip_is_read_or_refused(data):
    whole = gzip.compress(b"".join(b'{"a": "x%d", "b": "y", "score": 0.5}\n' % i for i in range(50)))
    cut = data.draw(st.integers(2, len(whole) - 1))
    flipped = bytearray(whole)
    flipped[cut] ^= data.draw(st.integers(1, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "set.jsonl.gz"
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError):
            read_dataset(path)
        path.write_bytes(flipped)
        read_or_data_error(path)


@given(st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255)), max_size=6), st.integers(0, 4096))
@settings(max_examples=200, deadline=None)
def test_a_damaged_tar_is_read_or_refused_and_writes_nothing_outside(changes, length):
    with tempfile.TemporaryDirectory() as folder:
        path = write_lines(Path(folder) / "set.jsonl", [{"file": "a.jpg", "caption": "c"}])
        write_tar(Path(folder) / "set.tar", {"a.jpg": b"x" * 600, "b.jpg": b"y"})
        content = bytearray((Path(folder) / "set.tar").read_bytes()[:4096])
        for position, value in changes:
            content[position] = value
        (Path(folder) / "set.tar").write_bytes(content[:length])
        read_or_data_error(path)
        assert sorted(f.name for f in Path(folder).rglob("*")) == ["set.jsonl", "set.tar"]
