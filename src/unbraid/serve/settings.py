"""The options of a server: keys, host names, switches, limits."""

from dataclasses import dataclass, field

from unbraid.serve.http.auth import ApiKeys
from unbraid.serve.limits import Limits


@dataclass(frozen=True)
class Settings:
    """The options of `unbraid serve`. The defaults suit a server that only its own machine reaches."""

    keys: ApiKeys = field(default_factory=ApiKeys)
    hosts: frozenset[str] = frozenset({"localhost", "127.0.0.1", "::1"})  # Host headers; empty allows any
    origins: tuple[str, ...] = ()  # of pages on other hosts that may call (CORS)
    aliases: tuple[str, ...] = ()  # more model names to answer to
    truncate: bool = True  # cut texts over the model's length, where a request does not say
    remote_pictures: bool = False  # fetch pictures given as https URLs
    limits: Limits = field(default_factory=Limits)
