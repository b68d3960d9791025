"""Multi-vectors: a unit vector for each token of an item, compared by late interaction (MaxSim)."""
