"""The encoder behind the server and the queue in front of it. Nothing in here knows of HTTP."""
