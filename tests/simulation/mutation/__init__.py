"""Guarding lines that are lost on purpose, for the simulation to notice."""
