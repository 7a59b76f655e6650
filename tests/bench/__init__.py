"""Measurements (`make bench`): what a message, a socket and a room cost. They print, and assert nothing."""
