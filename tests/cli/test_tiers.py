"""Tiers and languages on the command line."""

import json

import numpy as np
import pytest

from unbraid.bundle import manifest_hash
from unbraid.cli.tiers import written_in
from unbraid.loading import load

GERMAN = "die Katze und der Hund"


@pytest.fixture
def tiered_command(command, tiers_folder):
    """`command` with the bundle of several tiers."""
    return lambda *words, **options: command(*words, "--model", tiers_folder, **options)


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "cat.md").write_text("the cat is in the house")
    (folder / "hund.md").write_text(GERMAN)
    (folder / "maew.md").write_text("แมวกับสุนัขนอนอยู่", encoding="utf-8")
    return folder


def test_info_names_tiers_languages_and_defaults(command, tiers_folder, bundle_copy):
    about = json.loads(command("info", tiers_folder, "--json").out)
    assert about["tiers"] == "small, base, multi, nano"
    assert "multi de en ru" in about["languages"] and "inherited or none" in about["languages"]
    assert about["default tiers"] == "in English small for documents, base for queries; other languages multi"
    manifest = json.loads((bundle_copy / "bundle.json").read_text())  # as it was before tiers named languages
    for specs in (manifest["modalities"], *manifest["tiers"].values()):
        for spec in specs.values():
            spec.pop("languages", None)
    manifest["sha256"] = manifest_hash(manifest)
    (bundle_copy / "bundle.json").write_text(json.dumps(manifest))
    old = json.loads(command("info", bundle_copy, "--json").out)
    assert (old["languages"], old["default tiers"]) == (
        "not stated",
        "small for documents, small for queries",
    )


def test_info_and_stats_tell_who_encoded_an_index_and_flag_languages_not_trained(
    command, tiered_command, notes, tmp_path
):
    assert tiered_command("index", notes, "--into", tmp_path / "ix").code == 0
    about = json.loads(command("info", tmp_path / "ix", "--json").out)
    assert about["encoded by"] == "2 chunks multi, 1 chunks small"
    assert about["written in"] == "1 chunks de, 1 chunks th (not trained)"
    shown = command("index", "stats", tmp_path / "ix").out
    assert "encoded by 2 chunks multi, 1 chunks small" in shown and "1 chunks th (not trained)" in shown
    stats = json.loads(command("index", "stats", tmp_path / "ix", "--json").out)
    assert stats["tiers"] == {"multi": 2, "small": 1} and stats["text_languages"] == {"de": 1, "th": 1}


def test_nothing_is_flagged_where_a_bundle_does_not_say_its_languages():
    assert written_in({"de": 1200}, ()) == "1,200 chunks de"


def test_a_language_that_is_said_decides_and_a_tier_goes_before_it(tiered_command, tiers_folder):
    def vector(*options):
        return np.array(json.loads(tiered_command("encode", *options, stdin="the cat\n").out)["vector"])

    model = load(tiers_folder, threads=1)
    for options, tier in (
        ((), "small"),
        (("--task", "query"), "base"),
        (("--language", "de"), "multi"),
        (("--language", "de", "--tier", "nano"), "nano"),
    ):
        task = "query" if "query" in options else None
        np.testing.assert_allclose(
            vector(*options), model.encode(["the cat"], tier=tier, task=task)[0], atol=1e-6
        )


def test_a_search_is_told_the_language_of_its_query(tiered_command, notes, tmp_path):
    tiered_command("index", notes, "--into", tmp_path / "ix", "--language", "de")
    found = tiered_command(
        *("search", "the cat is in the house", "--in", tmp_path / "ix", "--mode", "symmetric", "--json"),
        *("--query-language", "de", "-k", "1"),
    )
    assert json.loads(found.out)["cosine"] == pytest.approx(1, abs=1e-3)  # both sides by multi


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--tier", "large"), "has no tier 'large'; it has small, base, multi, nano"),
        (("--language", "german"), "language 'german': expected a code of two or three small letters"),
    ],
)
def test_unknown_tiers_and_languages_are_refused_by_name(tiered_command, options, message):
    result = tiered_command("encode", *options, stdin="cat\n")
    assert result.code != 0 and message in " ".join(result.err.split())


def test_doctor_times_every_tier_that_a_text_may_go_to(tiered_command):
    about = json.loads(tiered_command("doctor", "--json").out)
    assert {"text", "base text", "multi text"} <= {row["graph"] for row in about["speeds"]}
