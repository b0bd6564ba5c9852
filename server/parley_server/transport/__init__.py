"""Adapters that join the stream seam to a gRPC transport."""
