"""The reference that the laws of the SDK's timeline are held against. Pure."""
