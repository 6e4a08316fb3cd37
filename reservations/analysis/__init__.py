"""What only looks and tries: audit, inspection, simulation. It never writes to the database."""
