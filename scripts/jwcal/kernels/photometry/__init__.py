"""Fluxes and centres of sources."""
