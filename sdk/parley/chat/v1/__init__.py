"""Generated stubs of the contract package parley.chat.v1."""
