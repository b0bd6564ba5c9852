"""Generated stubs of the contract package parley.admin.v1."""
