"""The operator's command line and the local cloud; not shipped."""
