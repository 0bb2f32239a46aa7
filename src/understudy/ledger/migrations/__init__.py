"""How the schema came to be: an append-only list. A revision that was released is never edited, only followed."""
