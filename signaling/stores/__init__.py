"""Where things are kept: the room log in Redis or Valkey, people and pairs in SQL. Knows no edge."""
