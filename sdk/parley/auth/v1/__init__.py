"""Generated stubs of the contract package parley.auth.v1."""
