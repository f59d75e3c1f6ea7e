"""A suite's scores as tables: what stands in each cell, what is said above it, and how it is written.

The way of a number from scores.json to a cell, where no file imports a later one:
runs/record.py -> runs/score_files.py -> runs/comparable.py -> runs/gather.py -> report/tables/cells.py ->
report/tables/build.py -> report/tables/compose.py -> report/tables/writers.py.
May import: modelling, runs, suites.
"""
