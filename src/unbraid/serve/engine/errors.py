"""Why an engine or its queue refuses work. http/errors.py decides how each is answered over HTTP."""

from unbraid.errors import ItemError


class TextTooLong(ItemError):
    """A text is over the limit of characters."""

    def __init__(self, row: int, characters: int, most: int) -> None:
        """Item `row` has so many `characters`; at most `most` are allowed."""
        super().__init__(
            f"item {row} has {characters:,} characters, at most {most:,} are allowed: split the text"
        )


class NoMultiVector(ItemError):
    """An item has no multi-vector."""


class Overloaded(Exception):
    """There is no room for a request, or it waited too long."""

    def __init__(self, reason: str, seconds: float) -> None:
        """`reason` is tokens, items, seconds, bytes or requests; try again after `seconds`."""
        super().__init__(reason)
        self.reason, self.seconds = reason, seconds


class VocabularyLoading(Exception):
    """The vocabulary of OpenAI's token ids is still loading."""


class EncodingFailed(Exception):
    """The encoder refused a batch for a reason that no item of the request explains."""


class ShuttingDown(Exception):
    """The queue is closed."""


class ClientGone(Exception):
    """The client closed its connection and no longer waits."""
