"""The demo cast: businesses and people to try Sluice with. Only `DEMO=1` makes them, once."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from tenants import accounts, businesses, members
from tenants.accounts import DEMO_PASSWORD
from tenants.models import Business, Role

_BUSINESSES = {"acme": "Acme", "globex": "Globex", "initech": "Initech"}
_PEOPLE = {
    "ada@example.com": ("Ada Lovelace", {"acme": Role.ADMIN, "globex": Role.ADMIN}),
    "ben@example.com": ("Ben Ito", {"acme": Role.MEMBER}),
    "cleo@example.com": ("Cleo Marsh", {"acme": Role.MEMBER}),
    "zoe@example.com": ("Zoe Winter", {"initech": Role.ADMIN}),
}
LOGINS = {
    "ada@example.com": "business admin of Acme and Globex",
    "ben@example.com": "member of Acme",
    "cleo@example.com": "member of Acme",
    "zoe@example.com": "business admin of Initech",
    "root@example.com": "platform admin",
}


def fill(session: Session) -> bool:
    """Make the cast; False when there are businesses already."""
    if session.scalar(select(Business.id).limit(1)) is not None:
        return False
    known = {slug: businesses.create(session, slug, name) for slug, name in _BUSINESSES.items()}
    for email, (name, roles) in _PEOPLE.items():
        user = accounts.register(session, email, name, DEMO_PASSWORD, demo=True)
        for slug, role in roles.items():
            members.add(session, known[slug], user, role)
    accounts.register(session, "root@example.com", "Root", DEMO_PASSWORD, is_platform_admin=True, demo=True)
    return True
