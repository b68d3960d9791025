"""A teacher behind the server: one batch holds items of several tasks, each under its own adapter."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from unbraid.items import Code, Item
from unbraid.runtime.preprocess import decode
from unbraid.serve.engine.engine import DEFAULT, QueueItem, RequestItem, TextEncoder
from unbraid.serve.engine.openai_tokens import OpenAITokens

if TYPE_CHECKING:
    from unbraid.teacher import AdapterTeacher


class TeacherEngine:
    """The `Engine` of a teacher."""

    multi_vector = True
    default_task = "symmetric"  # jina-embeddings-v4 is served so: text-matching
    tiers: tuple[str, ...] = ()
    workers = 1  # a larger batch fills a GPU

    def __init__(self, teacher: "AdapterTeacher", openai_tokens: OpenAITokens | None = None) -> None:
        """Serve a loaded teacher."""
        self.teacher = teacher
        self.openai_tokens = openai_tokens or OpenAITokens()
        self.name = str(teacher.about.get("model", teacher.id))
        self.tasks = tuple(teacher.routes)
        self.modalities = teacher.modalities
        self.dims = tuple(sorted(teacher.dims, reverse=True))
        self.dim = teacher.dim
        self.batch_tokens = teacher.batch_tokens
        self.about: Mapping[str, object] = {
            key: value for key, value in teacher.about.items() if isinstance(value, str | int | float)
        }

    def read(
        self,
        items: Sequence[RequestItem],
        task: str,
        max_characters: int,
        encoder: TextEncoder = DEFAULT,
        *,
        multi: bool = False,
    ) -> tuple[list[QueueItem], list[int]]:
        """Count tokens; the teacher tokenizes, and cuts or refuses, when it encodes. It reads for `multi` as without.

        A teacher puts a prompt before a text, so ids of its own tokenizer are of no use: all ids are OpenAI's.
        """
        texts: dict[int, str] = {}
        for row, item in enumerate(items):
            if not isinstance(item.content, bytes):
                content = item.content
                if isinstance(content, list):
                    content = self.openai_tokens.text_of_item(row, content, max_characters)
                texts[row] = Code(content) if item.kind == "code" else content
        counts = self.teacher.count_tokens(list(texts.values()), task, list(texts))
        tokens_of = dict(zip(texts, counts, strict=True))
        ready = []
        for row, item in enumerate(items):
            tokens = tokens_of[row] if row in texts else self.teacher.reader.picture_tokens(*item.size)
            ready.append(QueueItem(item.kind, texts.get(row, item.content), task, tokens, tokens))
        return ready, []

    def encode(self, items: Sequence[QueueItem], multi: bool) -> Sequence[np.ndarray] | np.ndarray:
        """float32 [n, dim], or with `multi` n arrays [tokens, 128]."""
        contents: list[Item] = [
            decode(item.content) if isinstance(item.content, bytes) else item.content
            for item in items
            if not isinstance(item.content, list)  # `read` lets no token ids through
        ]
        tasks = [item.task for item in items]
        if multi:
            return self.teacher.encode(contents, tasks, multi_vector=True)
        return self.teacher.encode(contents, tasks)
