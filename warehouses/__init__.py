"""Places: which warehouses there are, and which of them serves an order."""
