"""Real texts that every machine has: what parity, int8 and a projection are measured on where the user names none."""

from collections.abc import Sequence

from tokenizers import Tokenizer

from unbraid.export.parity_samples import docstrings

SHORT = 400  # characters
LONG = 4  # whole docstrings, the longest
# What tokenizers read in their own ways.
ODD = (
    "Überraschung: Größe, naïve, façade – „Anführung“ … €10 ½",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "人工智能正在改变世界。 日本語の文章です。",
    "مرحبا بالعالم، كيف حالك اليوم؟",
    "नमस्ते दुनिया, आप कैसे हैं?",
    "한국어 문장입니다. 안녕하세요?",
    "🙂 emoji 👩‍👩‍👧 and\ttabs\n\nnew lines",
    "  leading and trailing spaces  ",
    "camelCaseName snake_case_name HTTPServer2 x+=1; return [i**2 for i in range(10)]",
    "A",
)


def sample_texts(count: int = 200) -> list[str]:
    """About `count` texts: the first lines of docstrings, a few whole long ones, and odd ones in many scripts."""
    found = docstrings()
    step = -(-len(found) // count)
    return [*ODD, *(text[:SHORT] for text in found[::step]), *_longest()]


def with_hard_texts(sample: Sequence[str]) -> list[str]:
    """The texts of `sample`, and the odd and long ones that tell graphs apart where a user's own are short and plain."""
    return list(dict.fromkeys([*sample, *ODD, *_longest()]))


def _longest() -> list[str]:
    return sorted(docstrings(), key=len)[-LONG:]


def vocabulary_words(tokenizer: Tokenizer, count: int) -> list[str]:
    """`count` words of a tokenizer's vocabulary: what a model knows, in every language that it knows."""
    special = set(tokenizer.get_added_tokens_decoder())
    words = {
        tokenizer.decode([number]).strip(" #▁")
        for piece, number in tokenizer.get_vocab().items()
        if number not in special and not piece.startswith("##") and len(piece) > 3
    }
    ordered = sorted(word for word in words if word.isalpha())
    return ordered[:: max(1, len(ordered) // count)][:count]
