"""Audit, inspection and simulation. They only read the database and never write to it."""
