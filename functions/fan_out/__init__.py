"""Fan-out: enumerates a job's entries, seals the manifest, dispatches the messages."""
