"""An unlimited supply of captioned drawings: charts, tables, diagrams, pages, code, maps, objects and scenes."""

from unbraid.distill.drawings.kinds import KINDS, Drawing, draw

__all__ = ["KINDS", "Drawing", "draw"]
