import fnmatch
import shutil
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

import unbraid
from unbraid.errors import BundleError


@pytest.fixture
def hub(monkeypatch, tmp_path, bundle_folder):
    """A hub that holds the tiny bundle under every name; the calls it got are in `hub.calls`."""

    class Hub:
        def __init__(self):
            self.calls = []

        def snapshot_download(self, repo_id, *, revision, local_dir, allow_patterns):
            self.calls.append({"repo_id": repo_id, "revision": revision, "local_dir": Path(local_dir)})
            Path(local_dir).mkdir(parents=True, exist_ok=True)
            for path in bundle_folder.iterdir():
                if any(fnmatch.fnmatch(path.name, pattern) for pattern in allow_patterns):
                    shutil.copy(path, local_dir)
            return str(local_dir)

    made = Hub()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", made.snapshot_download)
    return made


@pytest.fixture
def no_hub(monkeypatch):
    def refuse(*_, **__):
        pytest.fail("the hub was asked")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)


# -- folders -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder_is_loaded_without_the_hub(bundle_folder, no_hub, kind):
    assert unbraid.load(kind(bundle_folder)).dim == 512


def test_a_relative_folder_is_loaded(bundle_folder, no_hub, monkeypatch):
    monkeypatch.chdir(bundle_folder.parent)
    assert unbraid.load(bundle_folder.name).dim == 512


def test_a_folder_named_like_a_hub_id_goes_first(bundle_folder, no_hub, monkeypatch):
    monkeypatch.chdir(bundle_folder.parent.parent)
    assert unbraid.load(f"{bundle_folder.parent.name}/{bundle_folder.name}").dim == 512


def test_the_starter_has_a_name(no_hub, tmp_path, monkeypatch):
    (tmp_path / "starter").mkdir()
    monkeypatch.chdir(tmp_path)
    assert unbraid.load("starter").bundle.id == unbraid.load().bundle.id
    with pytest.raises(BundleError, match="bundle"):
        unbraid.load("./starter")


def test_every_file_is_verified_while_loading(bundle_copy):
    with (bundle_copy / "code.mapper.int8.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(BundleError, match=r"code\.mapper\.int8\.onnx: damaged"):
        unbraid.load(bundle_copy)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match=r"bundle\.json: cannot be read .*not a bundle folder"):
        unbraid.load(tmp_path)


def test_a_file_is_no_bundle(bundle_folder):
    with pytest.raises(BundleError, match="not a bundle folder"):
        unbraid.load(bundle_folder / "bundle.json")


@pytest.mark.parametrize(
    "name",
    [
        "starter2",
        "/no/such/folder",
        "./none",
        "../none",
        "a/../b",
        "org/..",
        "org/.hidden",
        "-org/name",
        "org/name/more",
        "org/",
        "a b/c",
        "name\0",
        "x" * 5000,
        "https://huggingface.co/org/name",
    ],
    ids=lambda name: repr(name[:20]),
)
def test_an_unknown_name_is_refused_without_asking_the_hub(no_hub, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match="no such folder, and not a hub id of the form org/name"):
        unbraid.load(name)


# -- precision and threads ---------------------------------------------------------------------------------


def test_the_precision_picks_the_graphs(bundle_folder):
    vectors = [unbraid.load(bundle_folder, precision=one).encode(["cat"]) for one in (None, "int8", "fp32")]
    np.testing.assert_array_equal(vectors[0], vectors[1])  # int8 is the default of the tiny bundle's text
    assert not np.array_equal(vectors[1], vectors[2])


@pytest.mark.parametrize("precision", ["fp16", "float32", ""])
def test_an_unknown_precision_names_the_known_ones(bundle_folder, precision):
    with pytest.raises(
        BundleError, match=f"precision '{precision}' is not known: expected one of int8, fp32"
    ):
        unbraid.load(bundle_folder, precision=precision)


def test_threads_reach_the_embedder(bundle_folder):
    assert unbraid.load(bundle_folder, threads=3).threads == 3


# -- the hub -----------------------------------------------------------------------------------------------


def test_a_hub_id_is_fetched_whole_and_loaded(hub, embedder):
    loaded = unbraid.load("org/na-me_1.0")
    np.testing.assert_array_equal(loaded.encode(["cat"]), embedder.encode(["cat"]))
    assert {path.name for path in loaded.bundle.folder.iterdir()} == {
        path.name for path in embedder.bundle.folder.iterdir()
    }


@pytest.mark.parametrize(("revision", "folder"), [(None, "main"), ("v1.2", "v1.2")])
def test_each_revision_has_a_folder_of_its_own(hub, tmp_path, revision, folder):
    place = tmp_path / "home" / ".cache" / "unbraid" / "org" / "name" / folder
    assert unbraid.load("org/name", revision=revision).bundle.folder == place
    assert hub.calls == [{"repo_id": "org/name", "revision": revision, "local_dir": place}] * 2


@pytest.mark.parametrize("revision", ["../other", "a/../../b", "/v1", "", "v1 ", "-v"])
def test_a_revision_that_leaves_its_folder_is_refused_without_asking_the_hub(no_hub, revision):
    with pytest.raises(BundleError, match="is no commit, tag or branch"):
        unbraid.load("org/name", revision=revision)


def test_what_the_hub_sent_is_verified(hub, bundle_folder, tmp_path, monkeypatch):
    def send_damaged(repo_id, **options):
        hub.snapshot_download(repo_id, **options)
        (options["local_dir"] / "tokenizer.json").write_bytes(b"{}")
        return str(options["local_dir"])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", send_damaged)
    with pytest.raises(BundleError, match=r"tokenizer\.json: damaged.*or delete \S*/org/name/main first"):
        unbraid.load("org/name")


@pytest.mark.parametrize(
    "error",
    [
        LocalEntryNotFoundError("no network"),
        OfflineModeIsEnabled("offline"),
        HFValidationError("bad name"),
        OSError("disk full"),
        RuntimeError("whatever its HTTP library raises"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_hub_that_fails_is_a_bundle_error_with_the_name_and_the_reason(hub, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(BundleError, match=f"org/name: cannot be fetched from the hub: .*{error}") as refusal:
        unbraid.load("org/name")
    assert refusal.value.__cause__.__cause__ is error


def test_interrupting_a_download_is_not_a_bundle_error(hub, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(huggingface_hub, "snapshot_download", interrupt)
    with pytest.raises(KeyboardInterrupt):
        unbraid.load("org/name")
