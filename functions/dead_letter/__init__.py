"""Where workers could not: settles dead letters."""
