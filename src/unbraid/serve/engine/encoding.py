"""From the items of a request to their vectors: read, queued with those of others, encoded."""

import time
from collections.abc import Sequence

from fastapi import Request

from unbraid.errors import ItemError
from unbraid.items import Modality
from unbraid.serve.context import client_gone, served_by, trace_of
from unbraid.serve.engine.batcher import Job
from unbraid.serve.engine.engine import Given
from unbraid.serve.http.errors import ApiError
from unbraid.serve.requests import schemas as forms


async def items_of(request: Request, value: object, plain: Modality) -> list[Given]:
    """The items of an input, remote pictures fetched; strings are of modality `plain`. Raises ApiError 400."""
    served, trace = served_by(request), trace_of(request)
    items = await served.aside(len(trace.body), forms.read_input, value, plain, served.engine, served.limits)
    given = [item for item in items if isinstance(item, Given)]
    if len(given) == len(items):
        return given
    if not served.settings.remote_pictures:
        raise ApiError(
            400,
            "remote_pictures_off",
            "pictures are not fetched from other hosts here: send a data URL, or start with --remote-pictures",
            param="input",
        )
    from unbraid.serve.requests.remote_image import fetch_pictures

    with trace.phase("fetch"):
        return await fetch_pictures(items, served.limits)


async def encode(
    request: Request, given: Sequence[Given], task: str, *, truncate: bool, multi: bool = False
) -> tuple[Job, list[int]]:
    """The finished job of `given`, and the positions of the texts that were cut.

    Raises ApiError, and ClientGone once nobody waits for it any more.
    """
    served, trace = served_by(request), trace_of(request)
    with trace.phase("read"):
        await served.engine.prepare(given)
        # Token ids stand for up to 21 times as many characters as they are written with.
        size = len(trace.body) * (22 if any(isinstance(one.content, list) for one in given) else 1)
        try:
            entries, cut = await served.aside(size, served.engine.read, given, task)
        except ItemError as error:
            raise ApiError(400, "invalid_input", str(error), param="input") from error
        if cut and not truncate:
            raise ApiError(
                400,
                "INPUT_TOKEN_LIMIT_EXCEEDED",  # Jina's name
                f"item {cut[0]} is longer than the model reads at once: split it, or send truncate: true",
                param="input",
            )
        if (cost := sum(entry.cost for entry in entries)) > served.limits.tokens:
            raise forms.too_many_tokens(cost, served.limits)
    trace.task = task
    trace.items, trace.tokens = len(entries), sum(entry.tokens for entry in entries)
    started = time.perf_counter()
    with client_gone(request) as gone:
        try:
            job = await served.batcher.run(entries, multi=multi, gone=gone)
        except ItemError as error:
            raise ApiError(400, "invalid_input", str(error), param="input") from error
    trace.passed("queue", job.arrived, job.started or started)
    trace.passed("encode", job.started or started, time.perf_counter())
    return job, cut
