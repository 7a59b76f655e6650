"""What is true: rooms, their people, their log and their call. No I/O, no clock, no randomness in here."""
