"""The page of `readyfs coverage --html` at scale: how large it is, and what making it costs."""
