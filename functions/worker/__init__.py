"""The worker: calls the job's callback for a message batch and settles the entries."""
