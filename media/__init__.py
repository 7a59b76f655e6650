"""WebRTC on the server: relay credentials, ICE configuration, aiortc peers. Knows nothing of rooms."""
