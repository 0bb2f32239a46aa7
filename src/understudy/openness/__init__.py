"""How open a model really is, and what its licence lets this owner do with it.

Facts are files (`register/`, one per family; `licences/`, one per licence), each fact with the page that shows it, the
words, and the day they were read. Everything else is pure: graders (`framework.py`, `definition.py`, `index.py`,
`exemption.py`), licence conditions for an owner's profile (`conditions.py`), lineage (`lineage.py`), policies
(`policy.py`). `assess.py` puts them together for one model. What could not be verified is unknown, and says so.
"""
