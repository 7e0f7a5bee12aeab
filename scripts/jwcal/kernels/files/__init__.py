"""Passes over what was read: byte order, standard bits."""
