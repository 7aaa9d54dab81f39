"""What is wrong on this machine, and the line that mends it: `readyfs doctor`."""
