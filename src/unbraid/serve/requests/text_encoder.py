"""The tier and language that a request asks for."""

from unbraid.errors import ItemError
from unbraid.runtime.routing import Side, check_language
from unbraid.serve.engine.engine import Engine, TextEncoder
from unbraid.serve.http.errors import ApiError


def choose_encoder(
    engine: Engine,
    tier: str | None,
    language: str | None,
    side: Side | None = None,
    *,
    field: str = "language",
) -> TextEncoder:
    """What a request says of its texts' encoder; `field` is its name for the language. Raises ApiError 400."""
    for name, given in (("tier", tier), (field, language)):
        if given is not None and not engine.tiers:
            raise ApiError(400, "unsupported", f"{engine.name} has one text encoder and no tiers", param=name)
    if tier is not None and tier not in engine.tiers:
        message = f"unknown tier {tier[:50]!r}: expected one of {', '.join(engine.tiers)}"
        raise ApiError(400, "invalid_tier", message, param="tier")
    try:
        check_language(language)
    except ItemError as error:
        raise ApiError(400, "invalid_language", str(error), param=field) from None
    return TextEncoder(tier, language, side)
