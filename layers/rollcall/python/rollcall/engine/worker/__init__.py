"""The worker: it receives messages, calls the target and settles the entries."""
