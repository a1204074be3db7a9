"""One folder per system, one file per job."""
