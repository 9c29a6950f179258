"""Is one thing better than another, and what explains the distance to a paper's number?"""
