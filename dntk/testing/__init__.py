"""Strategies and checks with which a third party tests its own backend, sketch or distiller."""
