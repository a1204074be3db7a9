"""Fan-out: start, enumeration, dispatch, redrive and repair of runs."""
