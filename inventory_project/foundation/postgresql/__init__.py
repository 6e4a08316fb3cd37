"""Django's PostgreSQL backend with a limit on every wait; the settings name it as the engine."""
