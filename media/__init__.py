"""WebRTC on the server: ICE configuration and relay credentials. It knows nothing of rooms."""
