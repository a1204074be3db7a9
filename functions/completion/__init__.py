"""Completion: announces every end of a run."""
