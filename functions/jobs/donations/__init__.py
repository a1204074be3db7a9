"""Scheduled donations: charge promised donations when they are due."""
