"""Batch: handles a batch of a run or a step of a pipeline, for a state machine."""
