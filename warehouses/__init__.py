"""Warehouses, and the choice of those that serve an order."""
