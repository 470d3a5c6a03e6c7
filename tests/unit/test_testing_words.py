from hypothesis import given
from hypothesis import strategies as st

from langchain_promptrun.testing import _words


@given(st.text())
def test_the_pieces_of_a_text_join_to_the_text(text):
    assert "".join(_words.pieces(text)) == text


def test_a_piece_is_a_word_with_the_space_before_it():
    assert _words.pieces("Hello,  world ") == ["Hello,", "  world", " "]


def test_each_character_of_a_script_without_spaces_is_a_piece():
    assert _words.pieces("你好 ok") == ["你", "好", " ok"]


def test_identifiers_fall_into_words():
    assert _words.words("fetch_stockPrice HTTPServer2") == {"fetch", "stock", "price", "http", "server", "2"}


def test_articles_and_the_like_tell_nothing():
    assert _words.words("What is the value of my tool?") == set()


def test_words_of_one_stem_are_kin():
    assert _words.shared({"adder", "multiply", "sun"}, {"add", "multiplied", "son"}) == 2


def test_numbers_come_in_order_with_their_signs():
    assert _words.numbers("f(3) is 3-4, -5 or 1.5.") == [3, 3, 4, -5, 1.5]


def test_digits_inside_words_are_no_numbers():
    assert _words.numbers("v2 9x a1b user_7 10%") == [10]


def test_fragments_are_quotations_and_names():
    text = "Is it warm in San Francisco, CA, for 'two days' or \"three\" “four” `five`?"
    assert _words.fragments(text) == ["San Francisco, CA", "two days", "three", "four", "five"]


def test_an_apostrophe_opens_no_quotation():
    assert _words.fragments("don't and can't") == []


def test_quoted_leaves_names_out():
    assert _words.quoted("in Paris say 'hello'") == ["hello"]
