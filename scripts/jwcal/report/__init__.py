"""What a run left, for people: progress, summary, pictures, the page. Only `remains` knows where it lies.

It changes nothing, and knows no step.
"""
