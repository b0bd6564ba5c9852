"""Generated stubs of the contract package parley.channel.v1."""
