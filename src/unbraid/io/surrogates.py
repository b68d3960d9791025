"""Lone surrogates: characters that JSON and file names can hold and UTF-8 cannot."""


def replace_lone_surrogates(text: str) -> str:
    """`text` with each lone surrogate as U+FFFD; tokenizers raise TypeError for one."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
