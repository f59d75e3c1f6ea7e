"""What an author of a method works with: the contract, networks, losses and kernel densities.

May import: the ground floor.
"""
