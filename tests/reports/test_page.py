"""Pages and drawings are well formed, fetch nothing, and can be read without seeing them."""

from __future__ import annotations

import re
from html import escape
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.text import Text

from gatework.data import characters_of
from gatework.lens import MemoryHorizon, Passage
from gatework.lens.letters import font_with
from gatework.lens.plots import draw_horizons
from gatework.printable import identifier
from gatework.reports.learning import draw_learning_curves
from gatework.reports.page import bright_text, figure, page, paragraph, preformatted, section, table
from gatework.reports.passages import draw_passage
from gatework.train import Record

pytestmark = pytest.mark.slow

TEXT = 'def f(a):\n\t"<&>" '
PASSAGE = Passage(
    characters=characters_of(TEXT.encode()),
    units=(3, 17),
    gates={"f": np.full((2, len(TEXT)), 0.5, np.float32)},
    states={"c": np.linspace(-3, 3, 2 * len(TEXT), dtype=np.float32).reshape(2, -1)},
)
CURVE = [Record("valid", k, k * 1_000_000, 1.0, k / 2, 4.0 - k) for k in (1, 2)]
CURVES = {"rnn": CURVE, "gru": CURVE[:1]}
DRAWINGS = {
    "curves": lambda: (
        draw_learning_curves({"rnn": CURVE, "gru": CURVE[:1]}, "nats", "rows").in_page
    ),
    "horizons": lambda: draw_horizons({"rnn": MemoryHorizon(np.ones((4, 9)))}).in_page,
    "passage": lambda: draw_passage(PASSAGE, "passage").in_page,
}
VOID = {"meta", "link", "img", "br"}


class Outline(HTMLParser):
    """Collects ids and addresses, and checks that elements are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        self._note(attributes)

    def handle_startendtag(self, tag, attributes):
        self._note(attributes)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def _note(self, attributes):
        named = dict(attributes)
        self.ids += [named["id"]] if "id" in named else []
        self.addresses += [v for k, v in attributes if k in {"src", "href", "xlink:href"}]


def outline(html: str) -> Outline:
    parsed = Outline()
    parsed.feed(html)
    parsed.close()
    assert parsed.open == []
    return parsed


@pytest.fixture(scope="module")
def whole_page() -> str:
    figures = [figure(draw(), f"alt of {name}", "below") for name, draw in DRAWINGS.items()]
    body = section("A & B", paragraph("1 < 2"), *figures, preformatted("a\n  b"))
    return page("<Title>", 'a "lead"', [body, table(("x", "y"), [("<i>", "2")])])


def test_a_page_is_well_formed_and_its_text_is_what_was_given(whole_page):
    text = outline(whole_page).text
    for given in ("<Title>", 'a "lead"', "A & B", "1 < 2", "a\n  b", "<i>"):
        assert given in text


def test_a_page_fetches_nothing(whole_page):
    addresses = outline(whole_page).addresses
    assert all(address.startswith(("#", "data:")) for address in addresses), addresses
    assert not re.search(r"url\((?!#)|@import", whole_page)


def test_ids_on_a_page_are_unique(whole_page):
    ids = outline(whole_page).ids
    assert len(ids) == len(set(ids))


def test_every_figure_says_what_it_shows(whole_page):
    assert re.findall(r'role="img" aria-label="([^"]*)"', whole_page) == [
        f"alt of {name}" for name in DRAWINGS
    ]


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_takes_its_ink_from_the_page_and_is_the_same_each_time(name):
    svg = DRAWINGS[name]()
    assert svg == DRAWINGS[name]()
    assert svg.startswith("<svg")
    assert "currentColor" in svg
    assert "#010203" not in svg


def test_the_characters_stand_under_the_heat_map():
    letters = re.findall(r"<text[^>]*>([^<]*)</text>", draw_passage(PASSAGE, "p").in_page)
    shown = "".join(letter for letter in letters if len(letter) == 1 or letter.startswith("&"))
    assert 'def·f(a):↵→"&lt;&amp;&gt;"·' in shown.replace("&quot;", '"')


TEXTS = {
    "Chinese": "床前明月",
    "many": "Привет שלום سلام สวัสดี नम 👩\u200d👧 é\r\n$",
    "Latin-1": "Größe".encode("latin-1"),
}


@pytest.mark.parametrize("fonts", ["all", "none"])
@pytest.mark.parametrize("name", TEXTS)
def test_a_passage_in_any_language_is_drawn(name, fonts, tmp_path, monkeypatch):
    """As a picture with the fonts that there are, or without any but matplotlib's own."""
    if fonts == "none":
        monkeypatch.setattr("gatework.lens.letters.FONTS", ("DejaVu Sans",))
    font_with.cache_clear()
    text = TEXTS[name] if isinstance(TEXTS[name], bytes) else TEXTS[name].encode()
    characters = characters_of(text)
    passage = Passage(characters, (0,), {}, {"h": np.ones((1, len(text)), np.float32)})
    drawn = draw_passage(passage, "any")
    drawn.save(tmp_path / "passage.png")  # a glyph that is missing would be a warning
    texts = [text.get_text() for text in drawn.figure.findobj(Text)]
    missing = {c.label for c in characters if c.label not in texts}
    if fonts == "none" and name == "Chinese":
        assert missing == set("床前明月")
        assert "U+5E8A" in texts
    letters = re.findall(r"<text[^>]*>([^<]*)</text>", drawn.in_page)
    assert {escape(c.label) for c in characters} <= set(letters)  # in a page they are all there
    font_with.cache_clear()


@pytest.mark.parametrize("name", ["诗ส", "诗ส $a$ $b_", "_诗ส"])
def test_the_name_of_a_run_may_be_in_any_language(name, tmp_path):
    drawn = draw_learning_curves({name: CURVE}, "nats", "rows")
    drawn.save(tmp_path / "curves.png")
    letters = re.findall(r"<text[^>]*>([^<]*)</text>", drawn.in_page)
    assert name in [text.strip() for text in letters]


def test_ids_are_whole_whatever_a_run_is_called():
    name = 'my "诗"\\1'
    page = draw_passage(PASSAGE, name).in_page
    assert outline(page).ids
    for found in re.findall(r'(?:\bid="|url\(#|href="#)([^")]*)', page):
        assert found.startswith(f"{identifier(name)}-")


def test_a_character_takes_the_colours_of_its_bytes():
    html = bright_text(characters_of("a大ש".encode()), [1, -1, 0, 0.5, 0, 0], peak=2)
    spans = re.findall(r"<span( class=peak)? style=\"background:([^\"]*)\">(.)</span>", html)
    assert [(peak, letter) for peak, _, letter in spans] == [
        ("", "a"),
        (" class=peak", "大"),
        ("", "ש"),
    ]
    assert spans[0][1] == "rgb(10 143 134 / 0.85)"
    assert spans[1][1].startswith("linear-gradient(to right, rgb(209 96 61 / 0.85) 0% 33.3%, ")
    assert spans[2][1].startswith("linear-gradient(to left, ")


def test_a_passage_in_which_nothing_moves_can_be_drawn():
    still = Passage(characters_of(b"ab"), (0,), {}, {"h": np.zeros((1, 2), np.float32)})
    assert "<svg" in draw_passage(still, "still").in_page
