"""Mappers that users fit on pairs of their own: pairs, fit, cross-validation, file."""
