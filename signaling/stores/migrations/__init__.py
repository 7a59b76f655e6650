"""Alembic migrations, run by stores/database.py when a server or command opens the database."""
