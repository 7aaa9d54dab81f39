"""Numbers for the people on call: counted where things happen, rendered for Prometheus from the status document."""
