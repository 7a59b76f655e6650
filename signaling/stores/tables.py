"""The tables of people, pairs and sessions, for SQLite and PostgreSQL alike.

Ids are texts (uuid4), times are milliseconds UTC. Secrets are never here: only their SHA-256, which is enough
for 256 random bits. The migrations in stores/migrations make exactly these tables; a test compares them.
"""

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite only numbers rows by itself when the column is exactly INTEGER.
_Counter: Final = BigInteger().with_variant(Integer, "sqlite")

# A programme: policies, retention and relay rules hang on it. There is one, "default", from the first migration.
programme: Final = Table(
    "programme",
    metadata,
    Column("id", String(36), primary_key=True),
    Column(
        "relay_policy", String(8), CheckConstraint("relay_policy IN ('all', 'relay')", name="relay_policy")
    ),
    # Null means: kept until somebody removes it.
    Column("retention_days", Integer),
    Column("retention_count", Integer),
)

person: Final = Table(
    "person",
    metadata,
    Column("id", String(36), primary_key=True),
    # As it was written, for mail; and without case, for finding (`email_key`).
    Column("email", String(254), nullable=False),
    Column("email_key", String(254), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("tz", String(64), nullable=False, server_default="UTC"),
    Column("language", String(16), nullable=False, server_default="en"),
    Column("created_ms", BigInteger, nullable=False),
    # Working hours (rooms/availability.py); null means that they were never said.
    Column("hours", JSON),
    # Of the secret address of somebody's calendar feed.
    Column("feed_hash", LargeBinary(32)),
    Index("uq_person_feed_hash", "feed_hash", unique=True),
)

pair: Final = Table(
    "pair",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("programme_id", ForeignKey("programme.id"), nullable=False),
    Column("mentor_id", ForeignKey("person.id"), nullable=False, index=True),
    Column("mentee_id", ForeignKey("person.id"), nullable=False, index=True),
    Column("slug", String(26), nullable=False, unique=True),
    Column("created_ms", BigInteger, nullable=False),
    Column("removed_ms", BigInteger),
    # How a confirmed session is moved.
    Column(
        "moves",
        String(8),
        CheckConstraint("moves IN ('free', 'approve')", name="moves"),
        nullable=False,
        server_default="free",
    ),
    CheckConstraint("mentor_id <> mentee_id", name="two_people"),
    # The same two people have one living room; rooms that were removed may lie below it.
    Index(
        "uq_pair_living",
        "programme_id",
        "mentor_id",
        "mentee_id",
        unique=True,
        sqlite_where=text("removed_ms IS NULL"),
        postgresql_where=text("removed_ms IS NULL"),
    ),
)

link: Final = Table(
    "link",
    metadata,
    Column("token_hash", LargeBinary(32), primary_key=True),
    Column("person_id", ForeignKey("person.id"), nullable=False, index=True),
    Column("pair_id", ForeignKey("pair.id")),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("used_ms", BigInteger),
    Column("revoked_ms", BigInteger),
)

login: Final = Table(
    "login",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("person_id", ForeignKey("person.id"), nullable=False, index=True),
    Column("secret_hash", LargeBinary(32), nullable=False, unique=True),
    Column("created_ms", BigInteger, nullable=False),
    Column("last_used_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger),
)

access_token: Final = Table(
    "access_token",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("person_id", ForeignKey("person.id"), nullable=False, index=True),
    Column("token_hash", LargeBinary(32), nullable=False, unique=True),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger),
)

# An appointment of a pair (rooms/session.py). Wall time and zone are the truth; `start_ms` and `end_ms` follow from them.
session: Final = Table(
    "session",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("pair_id", ForeignKey("pair.id"), nullable=False, index=True),
    Column("uid", String(320), nullable=False, unique=True),
    Column("state", String(9), nullable=False),
    Column("wall", String(16), nullable=False),
    Column("tz", String(64), nullable=False),
    Column("fold", Integer, nullable=False),
    Column("start_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger, nullable=False),
    Column("minutes", Integer, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("rev", Integer, nullable=False),
    Column("by_id", ForeignKey("person.id"), nullable=False),
    Column("agenda", Text, nullable=False),
    Column("proposals", JSON, nullable=False),
    Column("answers", JSON, nullable=False),
    Column("who", JSON, nullable=False),
    Column("attendance", JSON, nullable=False),
    # Whose request made it, so that the same one asked again makes no second (L3).
    Column("booker_id", ForeignKey("person.id"), nullable=False),
    Column("booking_key", String(36), nullable=False),
    # Part of the ORGANIZER's address: whoever answers a calendar mail shows that they have it.
    Column("organizer", String(32), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    # When it was given this time: reminders that were due before are not sent.
    Column("timed_ms", BigInteger, nullable=False),
    # When time alone may change it next; null once it is over.
    Column("due_ms", BigInteger, index=True),
    UniqueConstraint("booker_id", "booking_key"),
    # Those that are still to come.
    Index(
        "ix_session_open",
        "start_ms",
        sqlite_where=text("due_ms IS NOT NULL"),
        postgresql_where=text("due_ms IS NOT NULL"),
    ),
)

# S3: one row for each five minutes that somebody has given away; the key is what makes a second one impossible.
claim: Final = Table(
    "claim",
    metadata,
    Column("person_id", ForeignKey("person.id"), primary_key=True),
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("session_id", ForeignKey("session.id"), nullable=False, index=True),
)

# S5: events on their way into a room's log. A row goes when its event is there; its key makes a repeat harmless.
room_outbox: Final = Table(
    "room_outbox",
    metadata,
    Column("id", _Counter, primary_key=True, autoincrement=True),
    Column("slug", String(26), nullable=False),
    Column("key", String(36), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

# S5: what is to be said outside of the room, once each. `subject` is a session's id, or the slug of a room.
notice: Final = Table(
    "notice",
    metadata,
    Column("id", _Counter, primary_key=True, autoincrement=True),
    Column("subject", String(36), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("recipient_id", ForeignKey("person.id"), nullable=False),
    Column("channel", String(8), nullable=False),
    Column("kind", String(24), nullable=False),
    Column("about", String(64), nullable=False),
    Column("state", String(8), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    # Not before; null once it is done with.
    Column("due_ms", BigInteger, index=True),
    # A worker has it until then.
    Column("leased_ms", BigInteger),
    UniqueConstraint("subject", "seq", "recipient_id", "channel", "kind", "about"),
    sqlite_autoincrement=True,
)

# Who did what, and at the same time what nodes poll to learn of changes. An id is never used twice, and becomes
# visible only after every lower one (stores/database.py says how).
audit: Final = Table(
    "audit",
    metadata,
    Column("id", _Counter, primary_key=True, autoincrement=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("action", String(32), nullable=False),
    Column("person_id", ForeignKey("person.id")),
    Column("pair_id", ForeignKey("pair.id")),
    # Small, and never a name, an address or a word that somebody said.
    Column("detail", JSON, nullable=False),
    sqlite_autoincrement=True,
)
