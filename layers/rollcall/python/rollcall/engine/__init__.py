"""The behaviour of the functions, written over the adapters; one wing per stage of a run."""
