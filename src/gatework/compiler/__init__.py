"""From equations to plans: derivative, order of work, what is kept. Knows no machine."""
