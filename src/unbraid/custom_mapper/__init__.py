"""Search modes that users fit on pairs of their own: reading pairs, fitting, cross-validation, the .mapper file."""
