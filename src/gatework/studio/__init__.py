"""The studio: a page on this machine that shows a trained network while it reads.

models.py    what is shown: the models of a run, or of a comparison
rows.py      in which rows the units of a value are shown
words.py     its values and gates in words
reading.py   one model reading one sequence, with gates held or not; kept in tiles
readings.py  those that the page has asked for, and the thread that reads
firing.py    where else a unit fires
tracks.py    what stands over the maps: characters or curves
asking.py    what the page may ask
answers.py   what it is answered
server.py    both over HTTP
"""
