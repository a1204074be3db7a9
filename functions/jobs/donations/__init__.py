"""Scheduled donations: what donors have promised to give, charged when it is due."""
