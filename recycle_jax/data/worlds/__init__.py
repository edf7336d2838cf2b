"""Simulated video: worlds of known state, made on the device from a key."""
