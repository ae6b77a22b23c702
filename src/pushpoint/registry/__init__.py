"""What is known: functions over the database, the store and the repositories."""
