"""How well a cost can be told without running the network: learned predictors and their validation."""
