"""What the quota service keeps, in SQLite or Postgres: tables, migrations, and the statements of each topic."""
