"""Development tools: training and measuring the built-in models."""
