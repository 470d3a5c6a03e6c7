from langchain_promptrun.testing._values import Source, number_grid, string_candidates


def test_each_number_is_handed_out_once():
    source = Source("1 2 3")
    assert [source.number(lambda number: number > 1) for _ in range(3)] == [2, 3, None]


def test_phrases_come_first_then_the_text_then_what_is_meant():
    source = Source(" Go to Rome. ")
    assert [source.phrase("city") for _ in range(3)] == ["Rome", "Go to Rome.", "city of: Go to Rome."]


def test_without_a_text_the_name_stands_in():
    assert Source("").phrase("city") == "city"


def test_the_second_tool_begins_with_the_second_phrase():
    assert Source("from Rome to Paris", skip=1).phrases == ["Paris", "Rome"]
    assert Source("from Rome", skip=5).phrases == ["Rome"]


def first(schema, variant=0, *, whole=True):
    return next(number_grid(schema, whole=whole, variant=variant))


def test_numbers_start_near_zero():
    assert first({}) == 0
    assert first({"minimum": 3.2}) == 4
    assert first({"maximum": -3.2}) == -4
    assert first({"minimum": -5, "maximum": 5}) == 0


def test_whole_multiples_of_a_fraction_are_whole():
    assert first({"multipleOf": 1.5, "minimum": 1}) == 3


def test_variants_go_round_within_bounds():
    schema = {"minimum": 5, "maximum": 7}
    assert [first(schema, variant) for variant in range(4)] == [5, 6, 7, 5]


def test_between_close_bounds_there_is_a_middle():
    assert list(number_grid({"minimum": 0.25, "maximum": 0.75}, whole=False, variant=0))[-1] == 0.5


def test_strings_are_cut_and_padded():
    assert next(string_candidates({"maxLength": 4}, "x", Source("Some text"), 0)) == "Some"
    assert next(string_candidates({"minLength": 6}, "x", Source("abc"), 0)) == "abc..."


def test_a_variant_keeps_its_mark_when_it_is_cut():
    assert next(string_candidates({"maxLength": 6}, "x", Source("Some text"), 1)) == "Some 2"


def test_there_is_a_short_word_for_each_variant():
    words = [list(string_candidates({}, "x", Source(""), variant))[-1] for variant in (0, 25, 26, 27, 700)]
    assert len(set(words)) == 5
    assert words[:2] == ["a", "z"]


def test_an_unknown_format_is_any_string():
    assert next(string_candidates({"format": "password"}, "secret", Source(""), 0)) == "secret"
