"""Generated stubs of the contract package parley.user.v1."""
