"""Django's PostgreSQL backend with sessions that never wait for ever: the settings name it as the database's engine."""
