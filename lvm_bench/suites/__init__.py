"""What is compared: bench.toml, resolved into the jobs of a suite.

May import: the ground floor.
"""
