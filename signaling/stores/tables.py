"""The tables of people and pairs, for SQLite and PostgreSQL alike.

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
