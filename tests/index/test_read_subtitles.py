from unbraid.index.files.read import read_text_chunks


def srt(count: int) -> str:
    return "\n".join(
        f"{n}\n00:{n:02d}:01,000 --> 00:{n:02d}:05,500\n<i>We speak of</i> topic {n}\n" for n in range(count)
    )


def test_a_chunk_says_when_it_is_said_and_holds_the_words_alone() -> None:
    first, *_, last = read_text_chunks(srt(50), ".srt")
    assert first.context == ("00:00:01",) and first.first_line == 3
    assert first.snippet.startswith("We speak of topic 0\nWe speak of topic 1\n")
    minute = int(last.context[0].split(":")[1])
    assert last.snippet.startswith(f"We speak of topic {minute}\n") and last.first_line == 4 * minute + 3


def test_webvtt_names_who_speaks_and_shows_a_rolling_line_once() -> None:
    text = (
        "WEBVTT\n\nNOTE not said\n\nSTYLE\n::cue { color: red }\n\n01:02.000 --> 01:04.000 align:start\n<v Ada>Hello &amp; "
        "welcome\n\nintro\n01:04.000 --> 01:06.000\n<v Ada>Hello &amp; welcome\n{\\an8}to the <c.red>show</c>\n"
    )
    (found,) = read_text_chunks(text, ".vtt")
    assert found.snippet == "Ada: Hello & welcome\nto the show" and found.context == ("00:01:02",)


def test_a_file_without_times_is_text() -> None:
    assert read_text_chunks("only words", ".srt")[0].snippet == "only words"
