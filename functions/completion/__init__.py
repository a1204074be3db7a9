"""Third: announces every end of a run."""
