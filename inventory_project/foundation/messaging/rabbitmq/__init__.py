"""Everything that knows RabbitMQ: connections, declarations, messages, sessions and dead letters."""
