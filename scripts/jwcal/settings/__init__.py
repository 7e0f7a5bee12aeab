"""The tables of config/, chains and recipes, and the parameters of each step with where each came from.

It knows no Snakemake and no arrays.
"""
