"""The HTTP doors of reservations."""
