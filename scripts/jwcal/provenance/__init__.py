"""What a product was made from: the record beside it, and what the code means.

It does not decide what is done about it.
"""
