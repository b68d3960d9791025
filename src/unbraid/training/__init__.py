"""What every training run here shares: data rows, typed recipes, losses, schedules, checkpoints, records."""
