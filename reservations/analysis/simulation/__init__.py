"""Other policies tried on orders, over stock in memory."""
