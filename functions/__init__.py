"""What runs in Lambda, in the order the data goes; `jobs` is what users add."""
