"""The arithmetic of steps that is more than a page, by subject: arrays, keywords and references in, arrays and models out.

It opens no files, and knows no step.
"""
