"""Fan-out: a run from its start to the last message on the queue, its redrive and its repair."""
