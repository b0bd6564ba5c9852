module parley.invalid/streamload

go 1.25
