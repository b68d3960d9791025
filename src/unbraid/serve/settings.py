"""How a server is set up."""

from dataclasses import dataclass, field

from unbraid.serve.http.auth import Keys
from unbraid.serve.http.limits import Limits


@dataclass(frozen=True)
class Settings:
    """What the command line says; the defaults are those of a server on one's own machine."""

    keys: Keys = field(default_factory=Keys)
    hosts: frozenset[str] = frozenset({"localhost", "127.0.0.1", "::1"})  # Host headers; empty takes any
    origins: tuple[str, ...] = ()  # of pages on other hosts that may call (CORS)
    aliases: tuple[str, ...] = ()  # further model names that are answered
    truncate: bool = True  # cut texts that are too long, where a request does not say
    remote_pictures: bool = False  # fetch https pictures
    limits: Limits = field(default_factory=Limits)
