"""The handlers that a state machine invokes, for batches and for steps of pipelines."""
