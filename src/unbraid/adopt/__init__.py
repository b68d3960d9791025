"""A model that others made becomes a bundle: `unbraid adopt` (docs/adopt.md). Needs the extra `export`."""

from unbraid.adopt.adopt import adopt

__all__ = ["adopt"]
