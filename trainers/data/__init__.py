"""What does training data look like on disk, and as tensors? One file per data set.

Imports nothing.
"""
