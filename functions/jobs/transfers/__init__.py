"""Recurring transfers: what clients have set up to be paid every week or month, executed at the bank."""
