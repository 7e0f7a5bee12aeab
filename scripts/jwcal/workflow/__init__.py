"""What there is to do, why, and how a job does it. Only this room and rules/ know Snakemake.

It knows no arithmetic.
"""
