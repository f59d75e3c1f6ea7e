"""Ex-post samplers: distributions that are fitted to the training codes of any trained method, beside a full Gaussian.

May import: modelling and training.
"""
