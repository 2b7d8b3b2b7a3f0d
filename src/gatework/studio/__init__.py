"""The studio: a page on this machine that shows a trained network while it reads.

models.py   what is shown: the models of a run, or of a comparison
reading.py  one model reading one text, with gates held or not; kept in tiles
firing.py   where else a unit fires
server.py   the page's questions and their answers, over HTTP
"""
