"""Pages of text."""

from unbraid.distill.drawings.sheet import Sheet, font
from unbraid.distill.drawings.vocabulary import any_topic, article, capital, listing

_SENTENCES = (
    "The {a} is part of every {b}.",
    "Without a {a} there is no {b}, and the {c} waits.",
    "A good {a} needs time.",
    "Many people first learn about the {a} and then the {b}.",
    "It begins with the {a}.",
    "In the past the {b} was rare; now each {c} has one.",
    "See the notes on {a} and {b} below.",
    "How the {a} changes the {c} is still an open question.",
    "Experts agree that the {b} matters more than the {a}.",
)


def page(sheet: Sheet) -> list[str]:
    """Draw a page of text with a heading, perhaps in two columns, with a list or a picture box."""
    rng, (w, h) = sheet.rng, sheet.size
    topic, words = any_topic(rng)
    face, size = rng.choice(["sans", "serif", "serif"]), rng.choice([7, 8, 8, 9, 10, 12])
    margin = rng.randint(10, 24)
    heading = rng.choice([topic, f"about {topic}", f"notes on {topic}", f"an introduction to {topic}"])
    heading = capital(heading)
    big = max(7, min(rng.randint(15, 24), int((w - 2 * margin) / len(heading) / 0.58)))
    x, anchor = (w / 2, "ma") if rng.random() < 0.4 else (margin, "la")
    accent = sheet.colours(1)[0][1] if rng.random() < 0.3 else None
    style = font(big, "bold" if face == "sans" or rng.random() < 0.5 else "serif")
    sheet.write(x, 8, heading, style, anchor, accent)
    y0 = 8 + big * 1.6
    text = " ".join(
        rng.choice(_SENTENCES).format(a=rng.choice(words), b=rng.choice(words), c=rng.choice(words))
        for _ in range(60)
    )
    columns = 2 if w > 180 and rng.random() < 0.3 else 1
    width = (w - 2 * margin - (columns - 1) * 12) / columns
    chars = max(8, int(width / size / 0.54))
    bullets = columns == 1 and rng.random() < 0.25
    figure = columns == 1 and not bullets and rng.random() < 0.25
    if figure:
        box = (w - margin - width * 0.4, y0, w - margin, y0 + h * 0.28)
        sheet.pen.rectangle(box, fill=sheet.colours(1)[0][1])
    style, queue = font(size, face), text.split()
    shown = ""
    for column in range(columns):
        x, y, left = margin + column * (width + 12), y0, rng.randint(4, 9)
        while y < h - size - 4:
            limit = int(chars * 0.56) if figure and y < y0 + h * 0.28 + size else chars - 2 * bullets
            line: list[str] = []
            while queue and len(" ".join([*line, queue[0]])) <= limit:
                line.append(queue.pop(0))
            if not line:
                break
            left -= 1
            if left == 0:  # the short last line of a paragraph
                line = line[: len(line) // 2 + 1]
            if bullets and left % 2:
                sheet.pen.ellipse((x, y + size * 0.4, x + 3, y + size * 0.4 + 3), fill=sheet.ink)
            sheet.write(x + 8 * bullets, y, " ".join(line), style, "la")
            shown += " ".join(line) + " "
            y += size * 1.35
            if left == 0:
                y, left = y + size * 0.8, rng.randint(3, 8)
    if columns == 2:
        layout = "in two columns"
    elif bullets:
        layout = "with a bullet list"
    else:
        layout = "beside a coloured picture box" if figure else "in one column"
    word = article(rng.choice(["page of text", "page of text", "text document", "printed page"]))
    said = [k for k in words if k in shown][:2]
    captions = [
        word,
        f"{word} about {topic}",
        f'{word} with the heading "{heading}"',
        f"a document {layout} on {topic}" + (f" that mentions {listing(said)}" if said else ""),
    ]
    return (
        [*captions, f"{word} on {topic}, light letters on a dark background"] if sheet.is_dark else captions
    )
