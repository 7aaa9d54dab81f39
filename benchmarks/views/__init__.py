"""What views cost: the memory of catalogs that are kept."""
