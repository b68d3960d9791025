"""What the space of texts and pictures is like: modality gap, alignment, cone effect."""
