"""The watchdog: what it looks for every minute."""
