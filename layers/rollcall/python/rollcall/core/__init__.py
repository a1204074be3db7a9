"""The pure core: the glossary's words as values and rules. No I/O, no clock, no environment."""
