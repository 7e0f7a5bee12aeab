"""Cosmic rays in ramps."""
