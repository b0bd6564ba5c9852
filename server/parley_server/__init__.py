"""The Parley node: takes messages, orders and stores them, and delivers them to open streams."""
