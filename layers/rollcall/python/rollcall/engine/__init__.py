"""What the functions do, in the order the data goes, written over the adapters."""
