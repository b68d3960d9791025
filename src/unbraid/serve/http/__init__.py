"""What every request passes: key, limits, errors, statistics, responses, document."""
