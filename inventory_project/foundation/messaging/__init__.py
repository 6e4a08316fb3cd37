"""What the service tells the world: events recorded with the change they report."""
