"""Numbers for the people on call: counted where things happen, rendered for Prometheus from the status document.

Enter at `families` for what is exposed, at `durations` for how it is counted.
"""
