"""What all training runs share: the loop, losses, schedule, checkpoints, recipe files, data splits and records."""
