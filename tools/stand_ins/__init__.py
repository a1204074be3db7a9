"""Loopback stand-ins for what a job talks to: the system that gives the report and the target called back."""
