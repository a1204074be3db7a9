"""Runs as a whole: their completion, progress, failures, verification and cancellation."""
