"""English words that say nothing of what a text is about."""

STOP_WORDS = frozenset(
    "a an and are as at be but by do does for from has have how i if in into is it its no not of on or s such t that the "
    "their then there these they this to was we were what when where which who will with you".split()
)
