"""What the simulator answers beside chat, without the gateway."""

import asyncio

import httpx
import pytest

from understudy.sim import Sim


def asked(*requests, switch=()):
    """The answers to `(path, body)` pairs, one after another."""

    async def main():
        async with Sim() as sim, httpx.AsyncClient(base_url=sim.root, trust_env=False) as client:
            for model, behaviour in switch:
                sim.switch(model, behaviour)
            return [await client.post(path, json=body) for path, body in requests]

    return asyncio.run(main())


TEXT = {"content": {"parts": [{"text": "a"}]}}
VECTORS = [
    ("/v1/embeddings", {"model": "e", "input": "a"}, lambda told: told["data"][0]["embedding"]),
    ("/v2/embed", {"model": "e", "texts": ["a"]}, lambda told: told["embeddings"]["float"][0]),
    ("/v1beta/models/e:embedContent", TEXT, lambda told: told["embedding"]["values"]),
    ("/v1beta/models/e:batchEmbedContents", {"requests": [TEXT]}, lambda told: told["embeddings"][0]["values"]),
    ("/v1beta/models/e:predict", {"instances": [{"content": "a"}]},
     lambda told: told["predictions"][0]["embeddings"]["values"]),
    ("/api/embed", {"model": "e", "input": "a"}, lambda told: told["embeddings"][0]),
    ("/api/embeddings", {"model": "e", "prompt": "a"}, lambda told: told["embedding"]),
]  # fmt: skip


def test_a_text_has_the_same_vector_whichever_way_it_is_asked_for():
    answers = asked(*[(path, body) for path, body, _ in VECTORS])
    found = [read(answer.json()) for answer, (_, _, read) in zip(answers, VECTORS, strict=True)]
    assert len(found[0]) == 8
    assert all(vector == found[0] for vector in found)


@pytest.mark.parametrize(("path", "body", "_read"), VECTORS)
def test_a_model_that_is_switched_fails_beside_chat_as_well(path, body, _read):
    (answer,) = asked((path, body), switch=[("e", "overloaded")])
    assert answer.status_code == 503


def test_a_kind_of_vectors_that_nobody_knows_is_refused():
    good, bad = asked(
        ("/v2/embed", {"model": "e", "texts": ["a"], "embedding_types": ["int8", "base64", "ubinary"]}),
        ("/v2/embed", {"model": "e", "texts": ["a"], "embedding_types": ["float99"]}),
    )
    assert set(good.json()["embeddings"]) == {"int8", "base64", "ubinary"}
    assert bad.status_code == 400


def test_documents_come_back_with_their_ranks_when_asked_for():
    body = {"model": "r", "query": "cat", "documents": ["dog", {"text": "cat"}], "return_documents": True}
    (answer,) = asked(("/v1/rerank", body))
    assert answer.json()["results"][0] == {"index": 1, "relevance_score": 1.0, "document": {"text": "cat"}}
