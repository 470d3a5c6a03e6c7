import pytest

from langchain_promptrun.testing._http import Request
from langchain_promptrun.testing._records import bearer, record


def recorded(headers, target="/v1/prompt?a=1&b=", body=b""):
    return record(Request("GET", target, "HTTP/1.1", headers, body), 3, 4, ["s3cret"])


def test_a_record_holds_the_request():
    found = recorded({"x": "y"}, body=b'{"a": 1}')
    assert (found.number, found.connection, found.method, found.path) == (3, 4, "GET", "/v1/prompt")
    assert (found.query, found.headers, found.body, found.raw) == (
        {"a": "1", "b": ""},
        {"x": "y"},
        {"a": 1},
        b'{"a": 1}',
    )
    assert found.time > 0
    assert found.in_flight


def test_a_request_through_a_proxy_keeps_its_target():
    found = recorded({}, target="http://api.promptrun.ai/v1/prompt?a=1")
    assert (found.target, found.path, found.query) == (
        "http://api.promptrun.ai/v1/prompt?a=1",
        "/v1/prompt",
        {"a": "1"},
    )


@pytest.mark.parametrize("body", [b"", b"{", b"\xff"])
def test_a_body_that_is_no_json_is_none(body):
    assert recorded({}, body=body).body is None


def test_keys_do_not_stay_in_the_record():
    headers = {"authorization": "Bearer s3cret", "proxy-authorization": "s3cret", "x-own": "key=s3cret;", "x": "y"}
    found = recorded(headers)
    assert found.headers == {
        "authorization": "Bearer ***",
        "proxy-authorization": "***",
        "x-own": "key=***;",
        "x": "y",
    }
    assert "s3cret" not in repr(vars(found))


def test_a_record_knows_its_key_again():
    found = recorded({"authorization": "bearer  s3cret"})
    assert found.has_key("s3cret")
    assert not found.has_key("other")


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic eDp5"])
def test_without_a_bearer_there_is_no_key(header):
    assert bearer(header) is None
    assert recorded({"authorization": header}).has_key("")


@pytest.mark.parametrize("flag", ["answered", "disconnected"])
def test_a_request_is_in_flight_until_its_end(flag):
    found = recorded({})
    setattr(found, flag, True)
    assert not found.in_flight
