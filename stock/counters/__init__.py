"""The counters: copies of the stock in Redis, which serve reads and reject early, and how they are kept right."""
