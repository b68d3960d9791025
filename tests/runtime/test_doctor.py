import pytest

from unbraid.runtime.doctor import Speed, fastest


def speeds(**rates):
    return [Speed("text", precision, {"short": one[0], "long": one[1]}) for precision, one in rates.items()]


def test_int8_is_the_fastest_where_it_is_faster_on_every_kind_of_item():
    assert fastest(speeds(int8=(20, 2.1), fp32=(10, 2)), "text") == "int8"


@pytest.mark.parametrize("int8", [(20, 1.9), (9, 3), (10, 2)])
def test_int8_is_not_the_fastest_where_it_is_slower_on_any(int8):
    assert fastest(speeds(int8=int8, fp32=(10, 2)), "text") == "fp32"


def test_a_graph_in_one_precision_has_no_choice():
    assert fastest(speeds(int8=(1, 1)), "text") == "int8"
