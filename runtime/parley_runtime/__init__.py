"""What every Parley process stands on: settings, clock, errors, logs, metrics, tokens, signals."""
