"""Lists of feedback and of who did what; and questions that take too long. On both databases."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from tests.ledger.making import NOW, whole
from understudy.ledger import Audit, Feedback, Ledger, notes, purging, queries
from understudy.ledger.database import bound, open_engine

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture
def written(settings):
    """The URL of a ledger with five of each, two of them at the same time, and one exchange with everything."""
    ledger = Ledger(settings)
    ledger.start()
    ledger.put(whole(id="ex_0", wall=NOW))
    for number in range(5):
        wall = NOW + max(number, 1)
        ledger.put(Feedback(f"fb_{number}", f"ex_{number % 2}", wall, score=0.5))
        ledger.put(Audit(f"au_{number}", wall, f"key_{number % 2}", "purge" if number else "change_key"))
    assert ledger.stop().lost == {}
    return settings.url


@pytest.mark.parametrize(("of", "prefix"), [(notes.feedback, "fb"), (notes.audit, "au")])
def test_pages_follow_each_other_newest_first(written, of, prefix):
    with open_engine(written).begin() as connection:
        seen, after = [], None
        while True:
            page = of(connection, after=after, limit=2)
            seen += [row.id for row in page.rows]
            after = page.next
            if after is None:
                break
        assert seen == [f"{prefix}_{number}" for number in (4, 3, 2, 1, 0)]
        some = of(connection, since=NOW + 2, until=NOW + 4)
        assert [row.id for row in some.rows] == [f"{prefix}_3", f"{prefix}_2"]
        with pytest.raises(queries.BadCursorError):
            of(connection, after="here")


def test_lists_can_be_narrowed_down(written):
    with open_engine(written).begin() as connection:
        assert [row.id for row in notes.feedback(connection, exchange="ex_1").rows] == ["fb_3", "fb_1"]
        assert [row.id for row in notes.audit(connection, actor="key_0", action="purge").rows] == ["au_4", "au_2"]


def test_what_is_counted_is_what_is_deleted(written):
    which = purging.Which(end_user=("u1",))
    with open_engine(written, writing=True).begin() as connection:
        for narrow in (purging.Which(end_user=("u1",), bodies_only=True), which):
            counted = purging.counted(connection, narrow)
            assert sum(counted.values()) > 0
            assert purging.purge(connection, narrow, NOW, "key_7").deleted == counted
        assert set(purging.counted(connection, which).values()) == {0}
        assert [row.actor for row in notes.audit(connection, actor="key_7").rows] == ["key_7", "key_7"]


def test_a_question_without_end_is_ended(written):
    with open_engine(written).connect() as connection:
        bound(connection, 0.2)
        with pytest.raises(OperationalError):
            connection.execute(text(ENDLESS))
