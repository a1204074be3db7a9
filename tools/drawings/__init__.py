"""Drawings of the state machines, made from the synthesized templates."""
