"""Cosmic rays that exposures or integrations show when they are compared."""
