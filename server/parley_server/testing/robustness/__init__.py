"""Traffic, faults and a recorded history of what the clients were told, checked against the log afterwards.

Built like etcd's robustness suite: a run is traffic and faults at the same time (`scenario`), everything the
clients did and saw is written down (`history`), and a checker that knows nothing of the server says what in
it cannot be (`validation`). What a call answered is known; a call without an answer may or may not have
happened.
"""
