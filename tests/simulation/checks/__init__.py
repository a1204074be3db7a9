"""What must hold of everything that happened."""
