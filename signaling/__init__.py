"""Everything that carries words in and out: sockets, HTTP, log-in, and the stores."""
