"""Data sets and published weights: which are here, and how do others get here?"""
