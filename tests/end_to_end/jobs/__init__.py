"""Jobs for tests: small, fast, and each with one thing about it."""
