"""The data sets, one file each, and what they share: reading, checksums, splits.

May import: the ground floor.
"""
