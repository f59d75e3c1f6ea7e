"""How a trained method is measured: the evidence that metrics ask for, feature spaces, scores.

May import: data, metrics, modelling, suites, training.
"""
