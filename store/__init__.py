"""The registry: one SQLite file that indexes every run of a lab. It knows SQL, and no training."""
