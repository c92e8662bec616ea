"""Studies of dntk: its demonstration, the paper's experiments, the data they use and the networks they train."""
