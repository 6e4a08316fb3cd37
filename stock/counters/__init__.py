"""The counters: copies of the stock levels in Redis for reads and early rejections, and how they are kept correct."""
