"""Plays: runs drawn from a seed, lived through under faults, on the models."""
