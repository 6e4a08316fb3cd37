"""RabbitMQ, known in this package only: the connection, what is declared there, messages, a session, dead letters."""
