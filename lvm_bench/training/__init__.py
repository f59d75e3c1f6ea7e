"""How a method is trained: the loop, its state, checkpoints, and several seeds at once.

May import: metrics, modelling, suites.
"""
