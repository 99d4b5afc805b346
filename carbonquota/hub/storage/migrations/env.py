"""What Alembic runs for a migration: it uses the connection, and hence the transaction, of who asks for it."""

from alembic import context

from carbonquota.hub.storage.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
