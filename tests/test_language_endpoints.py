"""Asking a model over HTTP: what goes wrong is repeated within limits, counted and reported; keys stay secret."""

import itertools

import httpx
import pytest
from language_server import Scripted

from coevo.network.language.endpoints import Endpoint, EndpointError, Limits, ask, clean

QUICK = Limits(max_tokens=16, requests=4, timeout=0.3, pause=0.001)


@pytest.fixture
def server():
    servers = []

    def start(*script):
        servers.append(Scripted(script))
        return servers[-1]

    yield start
    for each in servers:
        each.close()


def send(url, number=3, limits=QUICK, waits=None, **options):
    endpoint = Endpoint("small", url, "small-model", **options)
    with httpx.Client() as client:
        return ask(
            client,
            endpoint,
            "A post.\nAnswer: ",
            "Bitcoin",
            number,
            temperature=0.5,
            seed=7,
            limits=limits,
            sleep=(waits if waits is not None else []).append,
        )


def test_asks_once_if_all_is_well(server):
    one = server()
    got = send(one.url)
    assert got.requests == 1
    assert got.failures == {}
    assert len(got.texts) == 3
    assert all(text.startswith("Bitcoin ") and text.endswith(".") for text in got.texts)
    assert one.paths == ["/v1/completions"]
    assert one.bodies[0] == {
        "model": "small-model",
        "n": 3,
        "max_tokens": 16,
        "temperature": 0.5,
        "seed": 7,
        "stream": False,
        "prompt": "A post.\nAnswer: Bitcoin",
        "stop": ["\n", ". ", "! ", "? "],
    }
    assert "Authorization" not in one.headers[0]


def test_asks_only_for_what_is_missing_and_with_another_seed(server):
    one = server(lambda body: [(" rises", "stop"), ("  ...", "stop"), (" goes on and on", "length")])
    got = send(one.url)
    assert got.requests == 2
    assert got.failures == {"empty": 1, "too_long": 1}
    assert got.texts[0] == "Bitcoin rises."
    assert [(body["n"], body["seed"]) for body in one.bodies] == [(3, 7), (2, 1007)]


def test_a_server_without_n_is_asked_until_all_answers_are_in(server):
    answers = (lambda body: [(" one", "stop")], lambda body: [(" two", "stop")], lambda body: [(" three", "stop")])
    assert send(server(*answers).url).texts == ("Bitcoin one.", "Bitcoin two.", "Bitcoin three.")


def test_more_answers_than_asked_for_are_cut(server):
    got = send(server(lambda body: [(f" a{k}", "stop") for k in range(9)]).url)
    assert got.texts == ("Bitcoin a0.", "Bitcoin a1.", "Bitcoin a2.")


def test_a_cut_answer_counts_if_its_first_line_is_complete(server):
    assert send(server(lambda body: [(" rises.\nQuestion: and", "length")] * 3).url).texts == ("Bitcoin rises.",) * 3


@pytest.mark.parametrize(
    ("trouble", "kind", "waited"),
    [
        (503, "busy", True),
        (429, "busy", True),
        ("hang", "timeout", True),
        (b"<html>", "malformed", False),
        (b"{}", "malformed", False),
        (b"[]", "malformed", False),
        (b'{"choices": []}', "malformed", False),
        (b'{"choices": [{"text": 5, "finish_reason": "stop"}]}', "malformed", False),
        (b'{"choices": [{"text": "no reason"}]}', "malformed", False),
    ],
)
def test_trouble_is_counted_and_tried_again(server, trouble, kind, waited):
    waits = []
    got = send(server(trouble, trouble).url, waits=waits)
    assert len(got.texts) == 3
    assert got.requests == 3
    assert got.failures == {kind: 2}
    assert waits == ([0.001, 0.002] if waited else [])


def test_pauses_stop_growing_at_half_a_minute(server):
    waits = []
    send(server(503, 503, 503).url, waits=waits, limits=Limits(requests=4, pause=20.0))
    assert waits == [20.0, 30.0, 30.0]


def test_gives_up_with_a_count_of_what_went_wrong(server):
    script = (lambda body: [(" yes", "stop"), ("", "stop")], 503, b"no", lambda body: [(" x", "length")] * 2)
    with pytest.raises(EndpointError, match=r"small gave 1 of 3 answers in 4 requests") as caught:
        send(server(*script).url)
    assert str(caught.value).endswith("(failures: 1 busy, 1 malformed, 1 empty, 2 too_long)")


def test_a_refused_connection_is_counted():
    one = Scripted()
    one.close()
    with pytest.raises(EndpointError, match=r"0 of 3 answers in 4 requests \(failures: 4 refused\)"):
        send(one.url)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_for_good_is_not_repeated(server, status):
    one = server(status)
    with pytest.raises(EndpointError, match=f"small refused the request with HTTP status {status}$"):
        send(one.url)
    assert len(one.bodies) == 1


def test_chat_interface(server):
    one = server(lambda body: [("Bitcoin will wait. And see", "stop"), (None, "stop"), ("Bitcoin rests", "stop")])
    got = send(one.url, chat=True)
    assert got.texts[:2] == ("Bitcoin will wait.", "Bitcoin rests.")
    assert got.failures == {"empty": 1}
    assert one.paths[0] == "/v1/chat/completions"
    message = {"role": "user", "content": "A post.\nAnswer: \nBegin with the word Bitcoin."}
    assert one.bodies[0]["messages"] == [message]


SECRET = "sk-very-secret-1234"


def test_key_goes_from_the_environment_into_the_header_only(server, monkeypatch):
    monkeypatch.setenv("SOME_KEY", SECRET)
    one = server()
    got = send(one.url, key_variable="SOME_KEY")
    assert one.headers[0]["Authorization"] == f"Bearer {SECRET}"
    assert SECRET not in repr(got)
    assert SECRET not in repr(Endpoint("small", one.url, "m", key_variable="SOME_KEY"))


@pytest.mark.parametrize("script", list(itertools.product([401, 503, b"no", "hang"], repeat=1)))
def test_key_is_in_no_error_even_if_the_server_repeats_it(server, monkeypatch, script):
    monkeypatch.setenv("SOME_KEY", SECRET)
    with pytest.raises(EndpointError) as caught:
        send(server(*script * 4).url, key_variable="SOME_KEY")
    text = "".join(map(str, (caught.value, caught.value.__cause__, caught.value.__context__)))
    assert SECRET not in text


def test_a_missing_key_is_named_by_its_variable(server, monkeypatch):
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(EndpointError, match="small needs an API key in the environment variable SOME_KEY"):
        send(server().url, key_variable="SOME_KEY")


@pytest.mark.parametrize(
    ("start", "text", "sentence"),
    [
        ("Bitcoin", " will rise", "Bitcoin will rise."),
        ("Bitcoin", "'s  price\tfalls. It", "Bitcoin's price falls."),
        ("Bitcoin", " will rise!\nQuestion", "Bitcoin will rise!"),
        ("Bitcoin", " at $3.5 rises? No", "Bitcoin at $3.5 rises?"),
        ("Bitcoin", " rises,", "Bitcoin rises."),
        ("", ' "It rises." ', "It rises."),
        ("Bitcoin", "", ""),
        ("Bitcoin", " ... 12!", ""),
        ("Bitcoin", "\n rises", ""),
    ],
)
def test_clean(start, text, sentence):
    assert clean(start, text) == sentence


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "a b"}, "name must be letters, digits"),
        ({"url": "ftp://host/v1"}, "url must begin with http"),
        ({"url": "http:///v1"}, "url must begin with http"),
        ({"url": "http://me:secret@host/v1"}, "url must not hold a password"),
        ({"url": "http://host/v1?key=secret"}, "url must not hold a password"),
        ({"url": "http://host/v1#secret"}, "url must not hold a password"),
        ({"model": " "}, "model must"),
        ({"key_variable": "sk-secret"}, "key_variable must be the name of an environment variable"),
    ],
)
def test_bad_endpoints(options, message):
    good = {"name": "a", "url": "http://host/v1", "model": "m"}
    with pytest.raises(ValueError, match=message) as caught:
        Endpoint(**(good | options))
    assert "secret" not in str(caught.value)


def test_a_chat_flag_that_is_none():
    with pytest.raises(TypeError, match="chat"):
        Endpoint("a", "http://host/v1", "m", chat="yes")


@pytest.mark.parametrize("bad", [{"max_tokens": 0}, {"requests": 0}, {"timeout": 0.0}, {"pause": -1.0}])
def test_bad_limits(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Limits(**bad)
