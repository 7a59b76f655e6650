"""What the tests stand on: a real server, clients that nobody on the server's side wrote, real browsers."""
