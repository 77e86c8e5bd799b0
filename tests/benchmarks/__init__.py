"""Figures of speed and memory. Not tests: nothing here passes or fails by the clock."""
