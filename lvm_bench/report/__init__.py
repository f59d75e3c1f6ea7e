"""How results are shown: tables, figures and the page.

May import: modelling, runs, suites, training.
"""
