"""Loopback stand-ins for what a job talks to: the system that gives the report, the target called back, a bank."""
