import pytest

from understudy.dialects.wire import Malformed
from understudy.operations import embeddings, embeddings_ollama_legacy


def test_one_text_has_one_vector_and_no_more():
    asked = embeddings.EmbeddingRequest(model="m", inputs=("a", "b"))
    with pytest.raises(Malformed, match="takes one"):
        embeddings_ollama_legacy.encode_request(asked)
    with pytest.raises(Malformed, match="one was asked for"):
        embeddings_ollama_legacy.encode_answer(embeddings.EmbeddingAnswer(model="m", vectors=((1.0,), (2.0,))))


def test_what_it_cannot_say_is_lost():
    asked = embeddings.EmbeddingRequest(
        model="m", inputs=("a",), dimensions=2, truncate=True, purpose="query", user="u", dialect="other"
    )
    _, losses = embeddings_ollama_legacy.encode_request(asked)
    assert {loss.field for loss in losses} == {"dimensions", "truncate", "purpose", "user"}
