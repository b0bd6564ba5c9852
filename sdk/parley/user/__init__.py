"""Generated stubs of the contract area parley.user."""
