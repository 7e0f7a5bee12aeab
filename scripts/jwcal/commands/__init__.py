"""The commands of `jwcal`, one module a command, whose `main` takes the words after its name and returns the status.

They know what all rooms offer, and only tell it and ask for it: what is calculated here, nobody else could call.
"""
