"""Distillation: label with a teacher, train the base encoders, fit the mappers. Each stage is one script."""
