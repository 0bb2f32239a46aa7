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


@given(st.binary().filter(lambda file: b"--b0" not in file))
def test_a_field_taken_out_leaves_every_other_part_as_it_was(file):
    body = form(file=file)
    field = multipart.find(body, TYPE)
    left = multipart.without(body, field)
    assert left == body.split(b"--b0\r\n")[0] + b"--b0\r\n" + body.split(b"--b0\r\n", 2)[1] + b"--b0--\r\n"
    assert multipart.fields(left, TYPE, ("model",)) == {}


def test_fields_that_are_not_there_are_not_missed():
    assert set(multipart.fields(form(), TYPE, ("model", "other"))) == {"model"}


HEAD = b'Content-Disposition: form-data; name="model"\r\n'


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"--b0 \r\n" + HEAD + b"\r\nx\r\n--b0--\r\n", "body"),
        (b"--b0\r\n" + HEAD + b"X: " + b"x" * 9000 + b"\r\n\r\nx\r\n--b0--\r\n", "body"),
        (b"--b0\r\n" + HEAD + b"--b0\r\n" + HEAD + b"\r\nx\r\n--b0--\r\n", "body"),
        (b"--b0\r\n" + HEAD + HEAD + b"\r\nx\r\n--b0--\r\n", "body"),
        (b"--b0\r\nX: y\r\n\r\nx\r\n--b0--\r\n", "body"),
        (b"--b0\r\nContent-Disposition: form-data; =\r\n\r\nx\r\n--b0--\r\n", "body"),
        (b"--b0\r\n" + HEAD + b"\r\n\xff\r\n--b0--\r\n", "model"),
        ((b"--b0\r\n" + HEAD.replace(b"model", b"m") + b"\r\nx\r\n") * 1001 + b"--b0--\r\n", "body"),
    ],
    ids=["padding", "long-head", "no-blank-line", "two-names", "no-name", "no-parameter", "no-text", "many-parts"],
)
def test_a_form_that_could_be_read_in_two_ways_is_refused(body, field):
    with pytest.raises(Malformed) as refused:
        multipart.find(body, TYPE)
    assert refused.value.field == field


def test_a_boundary_that_is_no_ascii_is_refused():
    with pytest.raises(Malformed, match="ASCII"):
        multipart.find(form(), 'multipart/form-data; boundary="bü"')


def test_no_name_can_end_its_part():
    body = form()
    with pytest.raises(Malformed, match="line end"):
        multipart.replace(body, multipart.find(body, TYPE), "x\r\n--b0")
