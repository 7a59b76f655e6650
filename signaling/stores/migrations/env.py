"""Alembic's entry: runs the migrations on the connection, and in the transaction, that was handed in.

A new migration is written by hand beside the others, with its number; a test compares the result with
stores/tables.py on both databases.
"""

from alembic import context

from signaling.stores.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # One transaction around all of it, on SQLite too: half a migration is never seen.
    transactional_ddl=True,
    transaction_per_migration=False,
)
context.run_migrations()
