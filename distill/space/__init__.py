"""The base space: fitted to the labels, and the ceiling it puts on every student."""
