"""Run the migrations on the connection that `open_database` hands over."""

from alembic import context

from pushpoint.databases.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
