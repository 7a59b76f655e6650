"""The product as two people meet it: real browsers, real media, a real server, acted on by accessible names."""
