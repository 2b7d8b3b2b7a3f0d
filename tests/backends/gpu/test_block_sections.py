"""Where the threads of a block wait between the sections of a step."""

from gatework.backends.gpu.block.memory import Row, by_unit
from gatework.backends.gpu.block.parts import Where
from gatework.backends.gpu.block.sections import WAIT, section, waited

ROW = Row("row", "row", 8)
OLD, NEW = Row("now", "state", 8, 0), Row("next", "state", 8, 1)
OWN = by_unit(8)


def written(row, share=OWN):
    return section(["write"], row.used(share, writes=True))


def read(row, *share):
    return section(["read"], row.used(*share))


def lines(*sections):
    """The lines of a step but for braces."""
    return [line.strip() for line in waited(sections) if line not in "{}"]


def test_who_reads_its_own_units_does_not_wait():
    assert lines(written(ROW), read(ROW, OWN)) == ["write", "read"]


def test_who_reads_a_whole_row_waits_for_those_who_write_it_and_they_for_the_reader():
    assert lines(written(ROW), read(ROW)) == [WAIT, "write", WAIT, "read"]


def test_rows_divided_in_two_ways_are_waited_for():
    assert WAIT in lines(written(ROW, "lanes"), read(ROW, OWN))


def test_a_state_in_two_slots_is_waited_for_once_a_step():
    """The new slot is another one; the next step reads it, and writes what this one reads."""
    assert lines(read(OLD), written(NEW)).count(WAIT) == 1


def test_units_of_a_part_are_found_in_the_whole_row():
    sizes = {"head": 2, "key": 3, "value": 8, "1": 1}
    where = Where("head,key,value", sizes, {"head": 2, "value": 4})
    assert where.first == " + part_1 * 2 + part_0 * 24"
    assert [eval(where.unit(str(i)).replace("/", "//")) for i in range(6)] == [0, 1, 8, 9, 16, 17]


def test_a_part_in_one_piece_is_read_as_it_lies():
    sizes = {"head": 2, "key": 3, "value": 8, "1": 1}
    assert Where("head,key,value", sizes, {"head": 2}).unit("i") == "i"
    assert Where("head,key,1", sizes, {"head": 2, "value": 4}).unit("i") == "i"
