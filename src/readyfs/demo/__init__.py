"""A sample world by the producer's contract, and the tour that shows readyfs over it."""
