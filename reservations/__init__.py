"""Promises: stock held for an order for a limited time, then confirmed, released or returned."""
