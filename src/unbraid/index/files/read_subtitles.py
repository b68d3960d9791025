"""Subtitles (SubRip, WebVTT): what is said, with the time at which each chunk begins."""

import html
import re

from unbraid.index.files.chunk import Lines, Section

SUBTITLE_SUFFIXES = frozenset({".srt", ".vtt"})
_CUE = re.compile(r"[ \t]*(?:(\d{1,3}):)?(\d{1,2}):(\d{2})[.,]\d{1,3}[ \t]+-->")
_VOICE = re.compile(r"<v[.\w]*[ \t]+([^>]{1,100})>")
_MARKS = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")


def read_subtitles(source: Lines) -> tuple[Lines, list[Section]]:
    """The lines that are seen, each with its place in the file, and sections of one chunk each, named by their time.

    A line that is shown twice in a row, as in captions that roll, is taken once. Never raises.
    """
    lines: list[str] = []
    numbers: list[int] = []
    cues: list[tuple[int, str]] = []  # first of `lines`, time
    within = False  # a cue, and not its number, a comment or a style
    for number, line in enumerate(source.lines, start=1):
        if found := _CUE.match(line):
            within = True
            cues.append((len(lines), f"{int(found[1] or 0):02d}:{int(found[2]):02d}:{found[3]}"))
        elif not line.strip():
            within = False
        elif within:
            said = html.unescape(_MARKS.sub("", _VOICE.sub(r"\1: ", line))).replace("\0", " ")
            said = " ".join(said.split())
            if said and said not in lines[-1:]:
                lines.append(said)
                numbers.append(number)
    shown = Lines(lines, numbers, source.limit)
    if not cues:
        return source, [Section(0, len(source.lines))]
    sections: list[Section] = []
    for (first, time), end in zip(cues, [*(first for first, _ in cues[1:]), len(lines)], strict=True):
        if sections and shown.fit(sections[-1].first, end):
            sections[-1] = Section(sections[-1].first, end, sections[-1].context)
        elif first < end:
            sections.append(Section(first, end, (time,)))
    return shown, sections
