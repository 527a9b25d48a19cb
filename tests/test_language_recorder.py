"""Algorithm 1 into a log: what is read, who wrote it, what a kill loses, and what a log refuses."""

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from language_server import Scripted

from coevo.network.language import recorder
from coevo.network.language.endpoints import Endpoint, EndpointError, Limits
from coevo.network.language.posts import HUMAN_POSTS
from coevo.network.language.recorder import Agent, LanguageNetwork, LogError, prompt, read, record
from coevo.network.language.recorder import pools as pools_of

AGENTS = (Agent("ann", "one"), Agent("bob", "two"))
SMALL = LanguageNetwork(AGENTS, seed=5, samples=4, retrievals=2, steps=4)


def embed(texts):
    """A unit vector for each sentence, from its letters."""
    rows = [np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8).astype(np.float32) for text in texts]
    return np.array([row / np.linalg.norm(row) for row in rows])


@pytest.fixture
def scripted():
    server = Scripted()
    yield server
    server.close()


def endpoints(server):
    return {name: Endpoint(name, server.url, name) for name in ("one", "two")}


def run(network, server, path, **options):
    record(network, endpoints(server), path, embed=embed, progress=False, limits=Limits(pause=0.001), **options)
    return read(path)


def without_time(steps):
    return [{key: value for key, value in step.items() if key != "seconds"} for step in steps]


def test_human_posts_have_the_proportions_of_the_paper():
    assert Counter(post.stance for post in HUMAN_POSTS) == {"positive": 7, "neutral": 7, "negative": 6}
    assert len({post.text for post in HUMAN_POSTS}) == 20


def test_log_holds_everything_that_happened(scripted, tmp_path):
    network, sessions, steps, size = run(SMALL, scripted, tmp_path / "deep" / "a.jsonl", provenance={"note": "x"})
    assert network == SMALL
    assert size == (tmp_path / "deep" / "a.jsonl").stat().st_size
    (session,) = sessions
    assert session["note"] == "x"
    assert session["first"] == 0
    assert {"coevo", "python", "numpy", "httpx"} <= set(session["versions"])
    assert [step["t"] for step in steps] == [0, 1, 2, 3]
    asked = Counter()
    for step in steps:
        size = 20 + 2 * step["t"]
        for agent in range(2):
            assert len(step["retrieved"][agent]) == 2
            for chosen in step["retrieved"][agent]:
                assert len(chosen) == size // 2 == len(set(chosen))
                assert set(chosen) <= set(range(size))
            assert np.shape(step["answers"][agent]) == (2, 2)
        assert step["requests"] == [2, 2]
        assert step["failures"] == [{}, {}]
        # The log agrees with a plain computation of X_i, D and its norm.
        means = np.array([embed([text for part in agent for text in part]).mean(0) for agent in step["answers"]])
        stored = np.array([np.frombuffer(base64.b64decode(row), "<f2") for row in step["means"]], float)
        np.testing.assert_allclose(stored, means, atol=2**-11)  # half precision of numbers below 1
        distance = np.linalg.norm(means[0] - means[1])
        assert step["distance_norm"] == pytest.approx(np.sqrt(2) * distance, abs=1e-6)
        np.testing.assert_allclose(step["distances"], [[0, distance], [distance, 0]], atol=1e-6)
        asked.update(step["requests"])
    assert len(scripted.bodies) == 4 * 4


def test_prompts_are_the_retrieved_posts_in_their_order(scripted, tmp_path):
    network = replace(SMALL, agents=(AGENTS[0], Agent("bob", "two", "You are terse.")), steps=2)
    _, _, steps, _ = run(network, scripted, tmp_path / "a.jsonl")
    pools = [pools_of(network, steps[:t]) for t in range(2)]
    wanted = {
        prompt(network, agent, [pools[t][i][k].text for k in chosen]) + "Bitcoin"
        for t, step in enumerate(steps)
        for i, agent in enumerate(network.agents)
        for chosen in step["retrieved"][i]
    }
    assert {body["prompt"] for body in scripted.bodies} == wanted
    assert sum(text.startswith("You are terse.\n") for text in wanted) == 4
    assert all(text.endswith(f"Question: {network.query}\nAnswer: Bitcoin") for text in wanted)
    assert len({body["seed"] for body in scripted.bodies}) == 8


@pytest.mark.parametrize("sharing", recorder.SHARING)
def test_pool_and_the_author_of_every_sentence(scripted, tmp_path, sharing):
    network = replace(SMALL, sharing=sharing)
    _, _, steps, _ = run(network, scripted, tmp_path / "a.jsonl")
    pools = pools_of(network, steps)
    for pool in pools:
        assert [post.text for post in pool[:20]] == [post.text for post in HUMAN_POSTS]
        assert {(post.author, post.t) for post in pool[:20]} == {("human", -1)}
    grown = [pool[20:] for pool in pools]
    if sharing == "frozen":
        assert grown == [[], []]
        return
    first = [
        [(step["answers"][i][r][0], AGENTS[i].name, step["t"]) for r in range(2)] for step in steps for i in (0, 1)
    ]
    if sharing == "shared":
        assert grown[0] == grown[1] == [each[0] for each in first]
    else:
        for i in (0, 1):
            assert grown[i] == [post for each in first[i::2] for post in each]


def test_agents_of_one_model_ask_it_one_at_a_time(tmp_path):
    server = Scripted(delay=0.02)
    network = replace(SMALL, agents=(Agent("ann", "one"), Agent("bob", "one", "Be brief.")), steps=1)
    run(network, server, tmp_path / "a.jsonl")
    server.close()
    assert len(server.bodies) == 4


def test_one_seed_gives_one_log_and_another_seed_another(scripted, tmp_path):
    steps = [run(replace(SMALL, seed=s), scripted, tmp_path / name)[2] for s, name in ((5, "a"), (5, "b"), (6, "c"))]
    assert without_time(steps[0]) == without_time(steps[1])
    assert steps[0][0]["retrieved"] != steps[2][0]["retrieved"]


def test_goes_on_where_it_stopped(scripted, tmp_path):
    whole = run(SMALL, scripted, tmp_path / "whole")[2]
    _, sessions, steps, _ = run(SMALL, scripted, tmp_path / "parts", stop_after=1)
    assert len(steps) == 1
    run(SMALL, scripted, tmp_path / "parts", stop_after=2)
    _, sessions, steps, _ = run(SMALL, scripted, tmp_path / "parts")
    assert [session["first"] for session in sessions] == [0, 1, 3]
    assert without_time(steps) == without_time(whole)
    before = (tmp_path / "parts").read_bytes()
    run(SMALL, scripted, tmp_path / "parts")  # nothing is left to do, nothing is written
    assert (tmp_path / "parts").read_bytes() == before


def test_a_line_that_was_cut_off_is_removed(scripted, tmp_path):
    whole = run(SMALL, scripted, tmp_path / "whole")[2]
    path = tmp_path / "cut"
    lines = (tmp_path / "whole").read_bytes().splitlines(keepends=True)
    for cut in (b"", lines[0][:30], b"".join(lines[:3]) + lines[3][:100], b"".join(lines[:4])):
        path.write_bytes(cut)
        assert without_time(run(SMALL, scripted, path)[2]) == without_time(whole)


CHILD = """
import sys, pathlib
sys.path.insert(0, {tests!r})
from test_language_recorder import SMALL, embed, Endpoint, record
url = sys.argv[1]
record(SMALL, {{name: Endpoint(name, url, name) for name in ("one", "two")}}, pathlib.Path(sys.argv[2]), embed=embed)
"""


def test_a_kill_loses_at_most_the_step_under_way(tmp_path):
    """A recorder is killed again and again in the middle of a step; the log ends up as that of an undisturbed one."""
    slow = Scripted(delay=0.05)
    path = tmp_path / "killed"
    child = CHILD.format(tests=os.path.dirname(__file__))
    kills = 0
    for _ in range(3):
        seen, asked = (len(read(path)[2]) if path.exists() else 0), len(slow.bodies)
        process = subprocess.Popen([sys.executable, "-c", child, slow.url, str(path)])
        until = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < until:
            # After the first answer of the step that follows a finished one.
            if path.exists() and len(slow.bodies) > asked + 4 and len(read(path)[2]) > seen:
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.005)
        process.wait(60)
        assert len(read(path)[2]) > seen  # the finished step stayed
    slow.close()
    assert kills == 3
    quick = Scripted()
    steps = run(SMALL, quick, path)[2]
    whole = run(SMALL, quick, tmp_path / "whole")[2]
    quick.close()
    assert without_time(steps) == without_time(whole)


def test_a_log_is_written_by_one_process_only(scripted, tmp_path):
    path = tmp_path / "a"
    with recorder._only_writer(path), pytest.raises(LogError, match="is being written by another process"):
        run(SMALL, scripted, path)


def test_a_log_of_another_run_is_left_alone(scripted, tmp_path):
    run(SMALL, scripted, tmp_path / "a", stop_after=1)
    before = (tmp_path / "a").read_bytes()
    with pytest.raises(LogError, match="a belongs to another run: retrieval, temperature differ"):
        run(replace(SMALL, temperature=0.9, retrieval=0.4), scripted, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[1:], "line 1: the first line must be a run of format 1"),
        (lambda lines: [lines[0].replace('"format":1', '"format":9'), *lines[1:]], "line 1: the first line must be"),
        (lambda lines: [lines[0], lines[2], lines[2]], "line 3: expected step 1 or a session"),
        (lambda lines: [lines[0], lines[3]], "line 2: expected step 0 or a session"),
        (lambda lines: [lines[0], "{}"], "line 2: 'kind'"),
        (lambda lines: [lines[0], "]"], "line 2: "),
        (lambda lines: [lines[0].replace('"seed":5', '"seed":-5')], "line 1: seed must be"),
        (lambda lines: ["[]"], "line 1: "),
    ],
)
def test_a_damaged_log_names_the_line(scripted, tmp_path, change, message):
    path = tmp_path / "a"
    run(SMALL, scripted, path, stop_after=2)
    path.write_text("".join(f"{line}\n" for line in change(path.read_text().splitlines())))
    with pytest.raises(LogError, match=message):
        read(path)


def test_an_empty_log_cannot_be_read(tmp_path):
    (tmp_path / "a").write_text("half a line")
    with pytest.raises(LogError, match="holds no complete line"):
        read(tmp_path / "a")


def test_failures_are_counted_in_the_log(tmp_path):
    one = Scripted([503, lambda body: [("", "stop")] * 2, b"no"])
    two = Scripted()
    where = {"one": Endpoint("one", one.url, "one"), "two": Endpoint("two", two.url, "two")}
    record(SMALL, where, tmp_path / "a", embed=embed, progress=False, limits=Limits(pause=0.001), stop_after=1)
    (step,) = read(tmp_path / "a")[2]
    assert step["failures"] == [{"busy": 1, "empty": 2, "malformed": 1}, {}]
    assert step["requests"] == [5, 2]
    one.close()
    two.close()


def test_an_error_keeps_the_finished_steps(tmp_path):
    server = Scripted([lambda body: [(" rises", "stop")] * 2] * 4 + [401] * 9)
    with pytest.raises(EndpointError, match="401"):
        run(SMALL, server, tmp_path / "a")
    server.close()
    assert len(read(tmp_path / "a")[2]) == 1


def test_every_model_needs_an_endpoint(scripted, tmp_path):
    with pytest.raises(KeyError, match="endpoints must hold 'two', the model of agent 'bob'"):
        record(SMALL, {"one": endpoints(scripted)["one"]}, tmp_path / "a", embed=embed)
    assert not (tmp_path / "a").exists()


def test_identity_comes_back():
    assert LanguageNetwork.from_identity(json.loads(json.dumps(SMALL.identity))) == SMALL


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ({"agents": AGENTS[:1]}, ValueError, "agents must be at least two"),
        ({"agents": (AGENTS[0], AGENTS[0])}, ValueError, "agents must be at least two with different names"),
        ({"agents": (AGENTS[0], Agent("human", "two"))}, ValueError, "other than 'human'"),
        ({"agents": list(AGENTS)}, TypeError, "agents"),
        ({"agents": ("ann", "bob")}, TypeError, "agents"),
        ({"sharing": "open"}, ValueError, "sharing"),
        ({"seed": -1}, ValueError, "seed"),
        ({"retrievals": 1}, ValueError, "retrievals"),
        ({"samples": 1}, ValueError, "samples"),
        ({"samples": 5}, ValueError, "samples must be a multiple of retrievals = 2, got 5"),
        ({"agents": (*AGENTS, Agent("cy", "one")), "sharing": "isolated"}, ValueError, "retrievals must be at least"),
        ({"retrieval": 0.0}, ValueError, "retrieval"),
        ({"steps": 0}, ValueError, "steps"),
        ({"temperature": -0.1}, ValueError, "temperature"),
        ({"query": ""}, ValueError, "query"),
        ({"start": None}, TypeError, "start"),
        ({"human_posts": ()}, ValueError, "human_posts"),
    ],
)
def test_bad_networks(bad, error, message):
    with pytest.raises(error, match=message):
        replace(SMALL, **bad)


def test_bad_agents():
    with pytest.raises(ValueError, match="name"):
        Agent("", "one")
    with pytest.raises(ValueError, match="model"):
        Agent("ann", "")
    with pytest.raises(TypeError, match="persona"):
        Agent("ann", "one", None)
