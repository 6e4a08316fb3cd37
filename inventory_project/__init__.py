"""Joins the apps of the Inventory Service and holds what they all stand on; see docs/concepts/architecture.md."""
