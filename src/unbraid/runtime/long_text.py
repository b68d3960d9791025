"""Tokenizing no more of a long text than is kept of it: the time and memory of a text of any length are bounded."""

from collections.abc import Callable, Sequence

Tokenize = Callable[[Sequence[str]], tuple[list[list[int]], list[int]]]
CHARACTERS = 32  # a token, in the part that is read first: twice as many are read until the tokens are enough
# A tokenizer may read a word in the light of what follows it. Two cuts this far apart have to give the same tokens.
# BERT's asks for 100, as it makes one token of a longer word; a prime number finds what repeats with any period.
APART = 509


def tokenize_heads(
    tokenize: Tokenize, texts: Sequence[str], max_tokens: int
) -> tuple[list[list[int]], list[int]]:
    """Token ids of each text and the positions of texts that were cut, as `tokenize(texts)` gives them.

    `tokenize` cuts at `max_tokens`. It is given the beginning of each text, and more where that was not enough.
    """
    size = max(CHARACTERS * max_tokens, 4 * APART)
    ids, cut = tokenize([_head(text, size)[0] for text in texts])
    long = [row for row, text in enumerate(texts) if len(text) > size]
    if not long:
        return ids, cut
    enough = set(cut)
    cut_rows = set(cut)
    while long:
        unsure = []
        for row in long:
            head, whole_words = _head(texts[row], size)
            done = len(head) == len(texts[row]) or (
                row in enough and (whole_words or tokenize([head[:-APART]]) == ([ids[row]], [0]))
            )
            if not done:
                unsure.append(row)
        size *= 2
        long = unsure
        found, found_cut = tokenize([_head(texts[row], size)[0] for row in long])
        for row, one in zip(long, found, strict=True):
            ids[row] = one
        enough = {long[place] for place in found_cut}
        cut_rows = (cut_rows - set(long)) | enough
    return ids, sorted(cut_rows)


def _head(text: str, size: int) -> tuple[str, bool]:
    """The first `size` characters of a text, and whether they end with a whole word; cut at a space where one is near."""
    if len(text) <= size:
        return text, True
    end = size
    while end > size - APART and not text[end].isspace():
        end -= 1
    return (text[:end], True) if end > size - APART else (text[:size], False)
