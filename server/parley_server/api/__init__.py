"""The gRPC face: one servicer per service. Converts, calls, converts back; decides nothing."""
