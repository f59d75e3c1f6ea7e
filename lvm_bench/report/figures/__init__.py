"""A suite's pictures, a file for each kind.

May import: runs, suites.
"""
