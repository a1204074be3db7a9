"""What is deployed: environments, and small constructs that each give one capability."""
