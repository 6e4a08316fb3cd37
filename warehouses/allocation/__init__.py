"""Chooses the warehouses that serve an order, and records why. Pure: no framework, no database."""
