from dataclasses import replace

import numpy as np
import pytest
import torch

from unbraid import Code
from unbraid.errors import DataError, ItemError
from unbraid.teacher import load
from unbraid.teacher.members import members_teacher
from unbraid.teacher.members.member_space import MemberScale, MemberSpace, load_member_space
from unbraid.teacher.members.member_spec import E5, MEMBERS, MINILM, MPNET, stored_routes
from unbraid.teacher.members.members_teacher import SPACE, MembersTeacher, Translated, joined_routes
from unbraid.vectors import normalize

SPECS = (replace(E5, dim=4), replace(MPNET, dim=3))


class FakeMember:
    """Vectors by the characters and the prompt's name; keeps what it was asked."""

    def __init__(self, spec):
        self.spec, self.dim, self.id, self.asked = spec, spec.dim, f"{spec.name}-1", []

    def encode(self, items, task):
        self.asked.append((task, list(items)))
        route = self.spec.routes[task].name
        return np.stack([self.vector(str(item), route) for item in items])

    def vector(self, text, route):
        seed = sum(map(ord, text + route))
        return normalize(np.random.default_rng(seed).standard_normal((1, self.dim)))[0]


def make_space(weights=(1.0, 0.5), ids=("e5-1", "mpnet-1")):
    rng = np.random.default_rng(0)
    members = tuple(
        MemberScale(
            *(spec.name, id, spec.dim, weight, spec.english),
            means={
                route: rng.normal(0, 0.1, spec.dim).astype(np.float32) for route in stored_routes(spec.routes)
            },
        )
        for spec, weight, id in zip(SPECS, weights, ids, strict=True)
    )
    fill = rng.standard_normal((3, 4)).astype(np.float32)
    return MemberSpace(members, fill, np.eye(7, dtype=np.float32))


def teacher(space=None, **options):
    fakes = [(spec, FakeMember(spec)) for spec in SPECS]
    made = MembersTeacher(fakes, space or make_space(), **({"is_english": lambda text: True} | options))
    return made, [fake for _, fake in fakes]


def unit(vector):
    return vector / np.linalg.norm(vector)


def test_a_vector_is_the_centred_weighted_members_side_by_side():
    made, (e5, mpnet) = teacher()
    space = make_space()
    first = unit(e5.vector("cat", "passage") - space.members[0].means["passage"])
    second = unit(mpnet.vector("cat", "plain") - space.members[1].means["plain"])
    expected = unit(np.concatenate([first, 0.5 * second]))
    assert made.encode(["cat"], "document")[0] == pytest.approx(expected, abs=1e-6)


def test_query_and_symmetric_share_a_route_and_code_has_its_own():
    made, _ = teacher()
    assert made.routes == {"query": "query", "document": "document", "symmetric": "query", "code": "code"}
    assert joined_routes([MPNET, MINILM]).tasks == dict.fromkeys(made.routes, "query")


def test_the_code_task_reads_words_as_queries_and_snippets_as_documents():
    made, _ = teacher()
    mixed = made.encode(["cat", Code("cat()")], "code")
    assert np.array_equal(mixed[:1], made.encode(["cat"], "query"))
    assert np.array_equal(mixed[1:], made.encode([Code("cat()")], "document"))


def test_a_translation_gives_its_english_side_to_a_member_that_knows_english_alone():
    made, (e5, mpnet) = teacher()
    made.encode([Translated("Katze", "cat")], "query")
    assert e5.asked == [("query", ["Katze"])] and mpnet.asked == [("query", ["cat"])]


def test_an_absent_member_is_predicted_at_its_usual_length():
    made, (e5, mpnet) = teacher()
    space = make_space()
    found = made.encode([Translated("Katze")], "query")[0]
    assert mpnet.asked == []
    first = unit(e5.vector("Katze", "query") - space.members[0].means["query"])
    expected = unit(np.concatenate([first, 0.5 * unit(space.fill @ first)]))
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_language_that_is_not_english_makes_those_members_absent():
    made, (_, mpnet) = teacher(is_english=lambda text: text == "cat")
    both = made.encode(["cat", "Katze", Code("cat()")], "query")
    assert mpnet.asked == [("query", ["cat"]), ("query", [Code("cat()")])]
    plain, _ = teacher()
    assert np.array_equal(both[1:2], plain.encode([Translated("Katze")], "query"))


def test_the_id_covers_members_weights_means_and_projection():
    space = make_space()
    means = replace(
        space.members[0], means={route: mean + 1e-3 for route, mean in space.members[0].means.items()}
    )
    others = [
        make_space(weights=(1.0, 0.6)),
        make_space(ids=("e5-2", "mpnet-1")),
        replace(space, members=(means, space.members[1])),
        replace(space, fill=space.fill * 2),
        replace(space, projection=space.projection[::-1].copy()),
    ]
    assert len({space.id, *(other.id for other in others)}) == 6
    assert teacher()[0].id == f"members-{space.id}"


def test_about_says_members_and_weights():
    about = teacher()[0].about
    assert about["members"] == {"e5": "e5-1", "mpnet": "mpnet-1"}
    assert about["weights"] == {"e5": 1.0, "mpnet": 0.5}


def test_a_space_comes_back_from_its_file(tmp_path):
    space = make_space()
    space.save(tmp_path / "space.safetensors")
    again = load_member_space(tmp_path / "space.safetensors")
    assert again.id == space.id
    vectors = {"e5": np.eye(4, dtype=np.float32)[:2], "mpnet": np.eye(3, dtype=np.float32)[:2]}
    routes = {"e5": "query", "mpnet": "plain"}
    assert np.array_equal(again.join(vectors, routes), space.join(vectors, routes))


def test_a_file_that_is_no_space_is_refused(tmp_path):
    (tmp_path / "space").write_bytes(b"nothing")
    with pytest.raises(DataError, match="not a member space"):
        load_member_space(tmp_path / "space")


def test_members_that_are_not_the_spaces_are_refused_by_name():
    fakes = [(spec, FakeMember(spec)) for spec in SPECS]
    with pytest.raises(DataError, match=r"member mpnet is missing: the space was fitted with e5, mpnet"):
        MembersTeacher(fakes[:1], make_space())
    with pytest.raises(DataError, match="member e5 is e5-1, the space was fitted to e5-2"):
        MembersTeacher(fakes, make_space(ids=("e5-2", "mpnet-1")))
    with pytest.raises(DataError, match="member minilm is not in the space"):
        MembersTeacher([*fakes, (MINILM, FakeMember(MINILM))], make_space())
    wide = replace(SPECS[1], dim=5)
    with pytest.raises(DataError, match="member mpnet has 5 dimensions, the space expects 3"):
        MembersTeacher([fakes[0], (wide, FakeMember(wide))], make_space())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mpnet": None}, "no vectors of mpnet"),
        ({"gtr": np.zeros((2, 3))}, "vectors of gtr: this space joins e5, mpnet alone"),
        ({"mpnet": np.zeros((2, 4))}, r"mpnet: vectors have shape \(2, 4\), expected \(2, 3\)"),
        ({"mpnet": np.zeros((1, 3))}, r"expected \(2, 3\)"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(change, message):
    given = {"e5": np.ones((2, 4)), "mpnet": np.ones((2, 3))} | change
    given = {name: value for name, value in given.items() if value is not None}
    with pytest.raises(DataError, match=message):
        make_space().join(given, {"e5": "query", "mpnet": "plain"})


def test_a_route_nobody_knows_and_an_absent_reader_of_all_languages_are_refused():
    given = {"e5": np.ones((2, 4)), "mpnet": np.ones((2, 3))}
    with pytest.raises(DataError, match="e5: route 'code' has no mean here: expected one of query, passage"):
        make_space().join(given, {"e5": "code", "mpnet": "plain"})
    absent = {"e5": np.array([True, False])}
    with pytest.raises(DataError, match="e5 is absent in 1 of 2 items, and it reads every language"):
        make_space().join(given, {"e5": "query", "mpnet": "plain"}, absent)
    with pytest.raises(ItemError, match="unknown task 'search'"):
        teacher()[0].encode(["cat"], "search")


def test_a_picture_is_refused_by_its_row():
    from PIL import Image

    with pytest.raises(ItemError, match="item 1 is image"):
        teacher()[0].encode(["cat", Image.new("RGB", (2, 2))], "query")


def test_an_empty_text_is_refused_by_its_row_in_the_batch():
    with pytest.raises(ItemError, match="item 2 is an empty text"):
        teacher()[0].encode([Code("cat()"), "cat", " "], "query")


def test_a_file_is_read_as_its_text(tmp_path):
    (tmp_path / "a.txt").write_text("cat")
    made, _ = teacher(is_english=lambda text: text == "cat")
    assert np.array_equal(made.encode([tmp_path / "a.txt"], "query"), made.encode(["cat"], "query"))


def test_the_first_dimensions_are_a_shorter_vector():
    rng = np.random.default_rng(0)
    wide = replace(make_space(), projection=rng.standard_normal((256, 7)).astype(np.float32))
    made, _ = teacher(wide)
    assert made.dims == (256, 128)
    whole, short = made.encode(["cat"], "query")[0], made.encode(["cat"], "query", dim=128)[0]
    assert short == pytest.approx(unit(whole[:128]), abs=1e-6)
    with pytest.raises(ItemError, match="100"):
        made.encode(["cat"], "query", dim=100)


def test_load_opens_a_joined_teacher_by_its_folder_in_the_dtype_of_the_labels(tmp_path, monkeypatch):
    asked = []

    def load_member(spec, *, device, dtype):
        asked.append(dtype)
        made = FakeMember(spec)
        made.id = f"{spec.name}-1-bfloat16"
        return made

    for spec in SPECS:
        monkeypatch.setitem(MEMBERS, spec.name, spec)
    monkeypatch.setattr(members_teacher, "load_member", load_member)
    space = make_space(ids=("e5-1-bfloat16", "mpnet-1-bfloat16"))
    space.save(tmp_path / SPACE)
    made = load(tmp_path, device="cpu")
    assert made.id == f"members-{space.id}" and asked == [torch.bfloat16] * 2
    german = "Wie setze ich mein Passwort zurück, wenn die Nachricht nicht ankommt?"
    assert np.array_equal(made.encode([german], "query"), made.encode([Translated(german)], "query"))
