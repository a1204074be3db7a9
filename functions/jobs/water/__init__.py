"""Jobs of the licensing service."""
