"""Every minute: tops up windows, takes over the dead, heals and reports."""
