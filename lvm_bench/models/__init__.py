"""Models that were trained before, here or elsewhere: our runs, files of one's own, folders of pythae and diffusers.

May import: data, evaluation, modelling, runs, suites, training.
"""
