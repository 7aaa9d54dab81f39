"""What is wrong on this machine, and the command that fixes it: `readyfs doctor`."""
