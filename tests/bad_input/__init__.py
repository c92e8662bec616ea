"""Bad input, thrown at every public entry on every library; ``python -m tests.bad_input`` counts what comes back."""
