"""The command line `rollcall`."""
