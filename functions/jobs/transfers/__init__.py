"""Recurring transfers: execute clients' weekly and monthly payments at the bank."""
