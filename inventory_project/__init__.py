"""Joins the apps of the Inventory Service; what they all stand on lives here too (see docs/architecture.md)."""
