"""Second: calls the job's callback for a batch of messages and settles the entries."""
