import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.dialects.wire import Malformed
from understudy.operations import multipart

TYPE = 'multipart/form-data; boundary="b0"'


def form(model=b"whisper-1", file=b"\x00\xff"):
    return (
        b'--b0\r\nContent-Disposition: form-data; name="file"; filename="model"\r\n\r\n'
        + file
        + b'\r\n--b0\r\nContent-Disposition: form-data; name="model"\r\n\r\n'
        + model
        + b"\r\n--b0--\r\n"
    )


@given(st.binary().filter(lambda file: b"--b0" not in file), st.from_regex(r"[a-z0-9/.-]*", fullmatch=True))
def test_only_the_model_changes_whatever_the_file_holds(file, model):
    body = form(file=file)
    field = multipart.find(body, TYPE)
    assert field.value == "whisper-1"
    assert multipart.replace(body, field, model) == form(model.encode(), file)


@given(st.binary())
def test_any_bytes_give_a_field_or_malformed(body):
    with pytest.raises(Malformed):
        multipart.find(body, TYPE)


@given(st.integers(0, len(form()) - 5))
def test_a_body_cut_short_is_refused(length):
    with pytest.raises(Malformed):
        multipart.find(form()[:length], TYPE)


def test_two_models_are_refused():
    body = form().removesuffix(b"--b0--\r\n") + form()
    with pytest.raises(Malformed, match="twice"):
        multipart.find(body, TYPE)


@pytest.mark.parametrize("header", ["application/json", "multipart/form-data", "multipart/form-data; boundary="])
def test_a_header_without_a_boundary_is_refused(header):
    with pytest.raises(Malformed, match="boundary"):
        multipart.find(form(), header)


@pytest.mark.parametrize("filename", [b"a; name=model", b'a\\"; name=\\"model', b"name=model"])
def test_a_file_called_like_the_field_is_not_taken_for_it(filename):
    body = form().replace(b'filename="model"', b'filename="' + filename + b'"')
    assert multipart.find(body, TYPE).value == "whisper-1"


def test_a_part_with_two_names_is_refused():
    body = form().replace(b'; name="model"', b'; name="model"; name="other"')
    with pytest.raises(Malformed):
        multipart.find(body, TYPE)
