"""Fields of a model, and the request that a call makes of them."""
