"""Parts that two methods or tasks share; each is imported by its own name."""
