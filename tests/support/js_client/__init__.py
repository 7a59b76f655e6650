"""The official JavaScript client, driven from Python over lines of JSON."""
