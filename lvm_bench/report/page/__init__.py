"""report.html: one file that shows a suite and asks nothing of any network; and its live edition.

May import: runs, suites, training.
"""
