"""Quantities: stock levels, the ledger that alone writes them, availability, sales blocks, stock documents."""
