"""Reports: trained models measured on text that they have not seen, and the pages on them."""
