"""From the items of a request to their vectors: read, queued with those of other requests, encoded."""

import time
from collections.abc import Sequence
from functools import partial

import numpy as np
from starlette.requests import Request

from unbraid.items import Modality
from unbraid.serve.context import body_of, client_gone, context_of, stats_of
from unbraid.serve.engine.engine import DEFAULT, RequestItem, TextEncoder
from unbraid.serve.engine.errors import VocabularyLoading
from unbraid.serve.http.errors import ApiError
from unbraid.serve.requests.image_input import image_item
from unbraid.serve.requests.input_items import RemoteImage, check_tokens, read_input
from unbraid.serve.requests.remote_image import fetch


async def read_items(request: Request, value: object, plain: Modality) -> list[RequestItem]:
    """The items of an input, with remote pictures fetched; strings are of modality `plain`. Raises ApiError 400."""
    context, limits = context_of(request), context_of(request).limits
    found = await context.offload(len(body_of(request)), read_input, value, plain, context.engine, limits)
    items = [item for item in found if isinstance(item, RequestItem)]
    if len(items) == len(found):
        return items
    if not context.settings.remote_pictures:
        message = "this server fetches no pictures: send a data URL, or start it with --remote-pictures"
        raise ApiError(400, "remote_pictures_off", message, param="input")
    items = []
    with stats_of(request).phase("fetch"):
        for item in found:
            if isinstance(item, RemoteImage):
                item = image_item(await fetch(item.url, limits.picture_bytes), limits)
            items.append(item)
    return items


async def encode_items(
    request: Request,
    items: Sequence[RequestItem],
    task: str,
    *,
    truncate: bool,
    multi: bool = False,
    encoder: TextEncoder = DEFAULT,
) -> tuple[np.ndarray, list[int]]:
    """float32 [n, dim], or with `multi` n arrays [tokens, D]; and the positions of the texts that were cut.

    Raises ApiError, ItemError and the errors of the queue.
    """
    context, stats = context_of(request), stats_of(request)
    engine, limits = context.engine, context.limits
    with stats.phase("read"):
        # Token ids stand for up to 21 times as many characters as they are written with.
        size = len(body_of(request)) * (22 if any(isinstance(item.content, list) for item in items) else 1)
        read = partial(engine.read, multi=multi)
        reading = (size, read, items, task, limits.characters, encoder)
        try:
            ready, cut = await context.offload(*reading)
        except VocabularyLoading:
            await engine.openai_tokens.ready()
            ready, cut = await context.offload(*reading)
        if cut and not truncate:
            message = (
                f"item {cut[0]} is longer than the model reads at once: split it, or send truncate: true"
            )
            raise ApiError(400, "INPUT_TOKEN_LIMIT_EXCEEDED", message, param="input")  # Jina's code
        check_tokens(sum(item.cost for item in ready), limits)
    stats.task = task
    stats.items, stats.tokens = len(ready), sum(item.tokens for item in ready)
    with client_gone(request) as gone:
        job = await context.batcher.run(ready, multi=multi, gone=gone)
    started = job.started or job.arrived
    stats.phases += [("queue", job.arrived, started), ("encode", started, time.perf_counter())]
    return job.vectors, cut
