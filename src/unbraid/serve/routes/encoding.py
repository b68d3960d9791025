"""From the items of a request to their vectors: read, queued with those of other requests, encoded."""

import time
from collections.abc import Sequence

from starlette.requests import Request

from unbraid.items import Modality
from unbraid.serve.context import body_of, client_gone, context_of, stats_of
from unbraid.serve.engine.batcher import Job
from unbraid.serve.engine.engine import RequestItem
from unbraid.serve.http.errors import ApiError
from unbraid.serve.requests.image_input import image_item
from unbraid.serve.requests.input_items import check_tokens, read_input


async def read_items(request: Request, value: object, plain: Modality) -> list[RequestItem]:
    """The items of an input, with remote pictures fetched; strings are of modality `plain`. Raises ApiError 400."""
    context, limits = context_of(request), context_of(request).limits
    found = await context.offload(len(body_of(request)), read_input, value, plain, context.engine, limits)
    items = [item for item in found if isinstance(item, RequestItem)]
    if len(items) == len(found):
        return items
    if not context.settings.remote_pictures:
        raise ApiError(
            400,
            "remote_pictures_off",
            "pictures are not fetched from other hosts here: send a data URL, or start with --remote-pictures",
            param="input",
        )
    from unbraid.serve.requests.remote_image import fetch

    with stats_of(request).phase("fetch"):
        return [
            item
            if isinstance(item, RequestItem)
            else image_item(await fetch(item.url, limits.picture_bytes), limits)
            for item in found
        ]


async def encode_items(
    request: Request, items: Sequence[RequestItem], task: str, *, truncate: bool, multi: bool = False
) -> tuple[Job, list[int]]:
    """The finished job of `items`, and the positions of the texts that were cut.

    Raises ApiError, ItemError and the errors of the queue.
    """
    context, stats = context_of(request), stats_of(request)
    engine, limits = context.engine, context.limits
    with stats.phase("read"):
        await engine.prepare(items)
        # Token ids stand for up to 21 times as many characters as they are written with.
        size = len(body_of(request)) * (22 if any(isinstance(item.content, list) for item in items) else 1)
        ready, cut = await context.offload(size, engine.read, items, task, limits.characters)
        if cut and not truncate:
            raise ApiError(
                400,
                "INPUT_TOKEN_LIMIT_EXCEEDED",  # Jina's name
                f"item {cut[0]} is longer than the model reads at once: split it, or send truncate: true",
                param="input",
            )
        check_tokens(sum(item.cost for item in ready), limits)
    stats.task = task
    stats.items, stats.tokens = len(ready), sum(item.tokens for item in ready)
    with client_gone(request) as gone:
        job = await context.batcher.run(ready, multi=multi, gone=gone)
    started = job.started or job.arrived
    stats.phases += [("queue", job.arrived, started), ("encode", started, time.perf_counter())]
    return job, cut
