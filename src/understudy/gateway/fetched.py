"""What may be fetched: which addresses, which types, and whether bytes are what their sender says. Pure decisions."""

from __future__ import annotations

import codecs
import ipaddress

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
_PDF = "application/pdf"


class UnwantedError(Exception):
    """Something about a fetch is not as it has to be. The message is a clause that says what."""


# --- addresses


def forbidden(text: str) -> str | None:
    """What kind of address this is if nothing may be fetched from it, else None.

    Addresses of IPv4 inside those of IPv6 are judged as what they lead to: mapped (RFC 4291), NAT64 (RFC 6052) and
    6to4 (RFC 3056). What is left is judged by IANA's registries of special-purpose addresses, as `ipaddress` has them.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return "no address at all"
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return "an address of one network interface"
        inner = _inner(address)
        if inner is not None:
            return forbidden(str(inner))
        if address.teredo is not None or address.is_site_local:
            return "an address of a private or tunnelled network"
    kinds = (
        (address.is_unspecified, "an unspecified address"),
        (address.is_loopback, "an address of this machine itself"),
        (address.is_link_local, "a link-local address"),
        (address.is_multicast, "a multicast address"),
        (address.is_private, "an address of a private network"),
        (address.is_reserved, "a reserved address"),
        (not address.is_global, "no public address"),
    )
    return next((name for is_so, name in kinds if is_so), None)


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


# --- types

_STARTS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"%PDF-", _PDF),
    (b"ID3", "audio/mpeg"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
_BRANDS = {b"avif": "image/avif", b"avis": "image/avif", b"heic": "image/heic", b"heix": "image/heic",
           b"mif1": "image/heif", b"M4A ": "audio/mp4"}  # fmt: skip
_RECOGNISED = {*(kind for _, kind in _STARTS), *_RIFF.values(), *_BRANDS.values()}
_OTHER_NAMES = {
    "image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png", "application/x-pdf": _PDF,
    "audio/mp3": "audio/mpeg", "audio/x-wav": "audio/wav", "audio/wave": "audio/wav", "audio/vnd.wave": "audio/wav",
    "audio/x-flac": "audio/flac", "audio/x-m4a": "audio/mp4",
}  # fmt: skip
_UNTOLD = ("", "application/octet-stream", "binary/octet-stream")
"""What servers say that do not know: the bytes decide."""


def sniff(data: bytes) -> str | None:
    """The type that the first bytes tell, None if they tell none.

    Source: the WHATWG's MIME sniffing standard for images, sounds and PDF; ISO 14496-12 for the brands after `ftyp`.
    """
    for start, kind in _STARTS:
        if data.startswith(start):
            return kind
    if data.startswith(b"RIFF"):
        return _RIFF.get(data[8:12])
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12])
    if len(data) > 2 and data[0] == 0xFF and data[1] in (0xFB, 0xFA, 0xF3, 0xF2):
        return "audio/mpeg"  # a frame of MPEG audio, layer III, without tags
    return None


def media_type_of(said: str, data: bytes) -> str:
    """The type of `data`, whose server `said` so. Without data, only what was said is judged.

    Within images and within sounds the bytes are believed: servers often name the wrong format, which providers refuse.

    Raises:
        UnwantedError: a type that is not taken, or bytes that are something else.
    """
    named = said.partition(";")[0].strip().lower()
    named = _OTHER_NAMES.get(named, named)
    if named not in _UNTOLD and not _taken(named):
        raise UnwantedError(f"it is {named[:60]!r}, and only images, sounds, PDF and texts are fetched")
    if not data:
        return named
    seen = sniff(data)
    if named in _UNTOLD:
        if seen is None:
            raise UnwantedError("neither its server nor its bytes say of what type it is")
        return seen
    family = named.partition("/")[0]
    if seen is None:
        if named in _RECOGNISED:
            raise UnwantedError(f"its server says {named}, but its bytes are something else")
        return named
    if family != seen.partition("/")[0]:
        raise UnwantedError(f"its server says {named}, but its bytes are {seen}")
    return seen


def _taken(kind: str) -> bool:
    family, _, rest = kind.partition("/")
    return kind == _PDF or (family in ("image", "text", "audio") and rest.isprintable() and bool(rest))


_CHARSETS = {"ascii", "utf-8", "utf-16", "utf-16-le", "utf-16-be", "iso8859-1", "iso8859-2", "iso8859-15", "cp1250",
             "cp1251", "cp1252", "koi8-r", "shift_jis", "cp932", "euc_jp", "iso2022_jp", "gb2312", "gbk", "gb18030",
             "big5", "euc_kr", "cp949"}  # fmt: skip
"""Python's names of the encodings that texts on the web come in; others it knows are not for text from strangers."""


def readable(media_type: str, said: str, data: bytes) -> bytes:
    """`data`, as UTF-8 if it is a text: the charset stands in a header that does not travel on.

    Raises:
        UnwantedError: it cannot be read as the text it is said to be.
    """
    if not media_type.startswith("text/"):
        return data
    charset = next(
        (value.strip().strip("\"'") for name, _, value in (p.partition("=") for p in said.split(";")[1:])
         if name.strip().lower() == "charset"), "utf-8"
    )  # fmt: skip
    text = _decoded(data, charset)
    if text is None:
        raise UnwantedError(f"it cannot be read as {charset[:40]!r}")
    if "\0" in text:
        raise UnwantedError(f"its server says {media_type}, but it is no text")
    return text.encode("utf-8", "replace")


def _decoded(data: bytes, charset: str) -> str | None:
    try:
        codec = codecs.lookup(charset).name
        return data.decode(codec) if codec in _CHARSETS else None
    except (LookupError, ValueError):
        return None
