"""Dead letters: settles entries that no worker could handle."""
