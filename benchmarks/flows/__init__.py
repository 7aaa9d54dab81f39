"""What the consumer's questions cost, beside plain SQL."""
