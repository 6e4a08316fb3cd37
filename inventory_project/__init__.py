"""Joins the apps of the Inventory Service and holds their common foundation; see docs/concepts/architecture.md."""
