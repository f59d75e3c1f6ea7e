"""How a suite is run: workers, progress, stopping, clusters, and what a run will cost.

May import: data, evaluation, metrics, modelling, models, runs, suites, training.
"""
