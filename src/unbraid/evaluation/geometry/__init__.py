"""The geometry of the space that texts and pictures share: modality gap, alignment, cone effect."""
