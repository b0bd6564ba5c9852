"""Generated stubs of the contract package parley.error.v1."""
