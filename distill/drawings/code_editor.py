"""Screenshots of a code editor."""

from unbraid.distill.drawings.sheet import Colour, Sheet, font, shade
from unbraid.distill.drawings.vocabulary import any_topic, article

_VERBS = ("get", "load", "parse", "count", "find", "update", "save", "check", "sort", "merge")
_CODE = {
    "Python": """
def {f}({a}, {b}):
    if {a} is None:
        return {b}
    for {c} in {a}:
        {b} += {c}
    return {b}

class {F}:
    def __init__(self, {a}):
        self.{a} = {a}

import {c}
with open({a}) as f:
    {b} = f.read()
    print({b})
try:
    {f}({c})
except ValueError:
    raise""",
    "JavaScript": """
function {f}({a}, {b}) {{
  if (!{a}) {{
    return {b};
  }}
  const {c} = {a}.map(x => x + 1);
  return {c};
}}

export default {f};
let {b} = new Map();
for (const x of {a}) {{
  console.log(x);
}}
async function get() {{
  await fetch({c});
}}""",
    "Rust": """
fn {f}({a}: &str) -> u32 {{
    let mut {b} = 0;
    for c in {a}.chars() {{
        {b} += 1;
    }}
    {b}
}}

struct {F} {{
    {a}: String,
    {c}: u64,
}}

impl {F} {{
    pub fn new() -> Self {{
        todo!()
    }}
}}""",
    "C": """
#include <stdio.h>

int {f}(int {a}, int {b}) {{
    int {c} = 0;
    while ({a} < {b}) {{
        {c} += {a};
        {a}++;
    }}
    return {c};
}}

int main(void) {{
    return {f}(1, 2);
}}""",
    "SQL": """
SELECT {a}, {b}
FROM {c}
WHERE {a} > 10
  AND {b} IS NOT NULL
GROUP BY {a}
ORDER BY {b} DESC;

CREATE TABLE {c} (
  {a} INTEGER,
  {b} TEXT
);

INSERT INTO {c}
VALUES (1, 'x');""",
}
_RESERVED = """
#include AND BY CREATE DESC; FROM GROUP INSERT INTEGER INTO NOT NULL None ORDER SELECT TABLE TEXT VALUES
WHERE as async await class const def default except export fn for function if impl import in int is let
mut new of open pub raise return self struct try void while with
"""
_KEYWORDS = frozenset(_RESERVED.split())
_DARK = [(30, 30, 36), (18, 24, 34), (40, 42, 54), (0, 43, 54)]
_LIGHT = [(255, 255, 255), (253, 246, 227), (245, 246, 248)]
_INKS = [
    (86, 156, 214),
    (220, 120, 200),
    (120, 200, 120),
    (230, 180, 80),
    (240, 110, 110),
    (78, 201, 176),
]
_BUTTONS = ((237, 106, 94), (245, 191, 79), (98, 197, 84))


def code_screenshot(sheet: Sheet) -> list[str]:
    """Draw a code editor or a terminal-like window, dark or light."""
    rng, (w, h) = sheet.rng, sheet.size
    dark = rng.random() < 0.6
    sheet.fill(rng.choice(_DARK if dark else _LIGHT))
    topic, words = any_topic(rng)
    a, b, c, *_ = words
    language = rng.choice(list(_CODE))
    name = f"{rng.choice(_VERBS)}_{rng.choice(words)}"
    lines = _CODE[language].strip("\n").format(f=name, F=a.capitalize(), a=a, b=b, c=c).split("\n")
    start = rng.choice([0, 0, rng.randrange(len(lines) // 2)])
    lines = lines[start:] + [""] + lines
    size, top, gutter = rng.randint(8, 12), 0, 0
    style = font(size, "mono")
    if rng.random() < 0.6:
        top = 18
        sheet.pen.rectangle((0, 0, w, top), fill=shade(sheet.paper, 0.12 if dark else -0.1))
        for i, button in enumerate(_BUTTONS):
            sheet.dot(12 + i * 14, 9, 4, button)
    if rng.random() < 0.65:
        gutter = 22
        sheet.pen.rectangle((0, top, gutter, h), fill=shade(sheet.paper, 0.06 if dark else -0.05))
    inks = [ink if dark else shade(ink, -0.35) for ink in rng.sample(_INKS, 3)]
    step = size * 0.602
    for i, line in enumerate(lines[: int((h - top - 6) / size / 1.3)]):
        y = top + 4 + i * size * 1.3
        if gutter:
            sheet.write(gutter - 4, y, str(i + 1), font(max(7, size - 1), "mono"), "ra", (120, 124, 132))
        x = gutter + 5 + (len(line) - len(line.lstrip())) * step
        for token in line.split():
            sheet.write(x, y, token, style, "la", _ink_of(token, inks))
            x += (len(token) + 1) * step
    theme = "dark" if dark else "light"
    names = ["screenshot of a code editor", "screenshot of source code", "code editor"]
    word = article(rng.choice(names))
    return [
        word,
        f"{language} code on a {theme} background",
        f"{word} with a {theme} theme showing {language} code",
        f"{language} source code about {topic} with {a}, {b} and {c} on a {theme} background",
    ]


def _ink_of(token: str, inks: list[Colour]) -> Colour | None:
    """The colour of a keyword, a call or a literal; None for other words."""
    if token.strip("({):;") in _KEYWORDS or token in _KEYWORDS:
        return inks[0]
    if "(" in token:
        return inks[1]
    return inks[2] if token[0] in "'\"0123456789" else None
