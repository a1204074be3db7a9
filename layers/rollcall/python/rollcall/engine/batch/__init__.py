"""Batches and pipelines: what a state machine asks for."""
