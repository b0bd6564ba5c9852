"""Channels, their logs, and the streams of the devices that read them."""
