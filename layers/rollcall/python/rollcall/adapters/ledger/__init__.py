"""The ledger: the only writers and readers of its items."""
