"""The coverage of a state as one HTML file that opens without a network."""
