"""Properties that hold by theorem, tested on adversarial inputs with derived allowances."""
