"""Messaging: events to the outside (outbox and relay), messages from the outside (consumer and inbox)."""
