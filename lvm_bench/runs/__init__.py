"""What a results folder holds: how far each run is, what is left of it, and what was gathered.

May import: suites, training.
"""
