"""A suite's scores as tables: what stands in each cell, and how it is written.

May import: modelling, runs, suites.
"""
