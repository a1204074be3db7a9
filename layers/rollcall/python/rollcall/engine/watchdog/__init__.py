"""The watchdog and the checks that it makes every minute."""
