"""Forecasts: the next values of series, with quantiles, from all before them."""
