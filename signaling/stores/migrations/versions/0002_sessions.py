"""Sessions with their claims, what waits to be said of them, and what people say of their time.

Written out, not taken from stores/tables.py: that one goes on changing, this one never does.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    counter = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    # No table is made anew: SQLite would not drop one that others refer to, and it cannot be told so within a transaction.
    op.add_column("person", sa.Column("hours", sa.JSON))
    op.add_column("person", sa.Column("feed_hash", sa.LargeBinary(32)))
    op.create_index("uq_person_feed_hash", "person", ["feed_hash"], unique=True)
    op.execute(
        "ALTER TABLE pair ADD COLUMN moves VARCHAR(8) DEFAULT 'free' NOT NULL"
        " CONSTRAINT ck_pair_moves CHECK (moves IN ('free', 'approve'))"
    )
    op.create_table(
        "session",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("pair_id", sa.String(36), nullable=False),
        sa.Column("uid", sa.String(320), nullable=False),
        sa.Column("state", sa.String(9), nullable=False),
        sa.Column("wall", sa.String(16), nullable=False),
        sa.Column("tz", sa.String(64), nullable=False),
        sa.Column("fold", sa.Integer, nullable=False),
        sa.Column("start_ms", sa.BigInteger, nullable=False),
        sa.Column("end_ms", sa.BigInteger, nullable=False),
        sa.Column("minutes", sa.Integer, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("rev", sa.Integer, nullable=False),
        sa.Column("by_id", sa.String(36), nullable=False),
        sa.Column("agenda", sa.Text, nullable=False),
        sa.Column("proposals", sa.JSON, nullable=False),
        sa.Column("answers", sa.JSON, nullable=False),
        sa.Column("who", sa.JSON, nullable=False),
        sa.Column("attendance", sa.JSON, nullable=False),
        sa.Column("booker_id", sa.String(36), nullable=False),
        sa.Column("booking_key", sa.String(36), nullable=False),
        sa.Column("organizer", sa.String(32), nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("timed_ms", sa.BigInteger, nullable=False),
        sa.Column("due_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_session"),
        sa.ForeignKeyConstraint(["pair_id"], ["pair.id"], name="fk_session_pair_id"),
        sa.ForeignKeyConstraint(["by_id"], ["person.id"], name="fk_session_by_id"),
        sa.ForeignKeyConstraint(["booker_id"], ["person.id"], name="fk_session_booker_id"),
        sa.UniqueConstraint("uid", name="uq_session_uid"),
        sa.UniqueConstraint("booker_id", "booking_key", name="uq_session_booker_id_booking_key"),
    )
    op.create_index("ix_session_pair_id", "session", ["pair_id"])
    op.create_index("ix_session_due_ms", "session", ["due_ms"])
    op.create_index(
        "ix_session_open",
        "session",
        ["start_ms"],
        sqlite_where=sa.text("due_ms IS NOT NULL"),
        postgresql_where=sa.text("due_ms IS NOT NULL"),
    )
    op.create_table(
        "claim",
        sa.Column("person_id", sa.String(36), nullable=False),
        sa.Column("bucket", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("session_id", sa.String(36), nullable=False),
        sa.PrimaryKeyConstraint("person_id", "bucket", name="pk_claim"),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name="fk_claim_person_id"),
        sa.ForeignKeyConstraint(["session_id"], ["session.id"], name="fk_claim_session_id"),
    )
    op.create_index("ix_claim_session_id", "claim", ["session_id"])
    op.create_table(
        "room_outbox",
        sa.Column("id", counter, autoincrement=True, nullable=False),
        sa.Column("slug", sa.String(26), nullable=False),
        sa.Column("key", sa.String(36), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_room_outbox"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "notice",
        sa.Column("id", counter, autoincrement=True, nullable=False),
        sa.Column("subject", sa.String(36), nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("recipient_id", sa.String(36), nullable=False),
        sa.Column("channel", sa.String(8), nullable=False),
        sa.Column("kind", sa.String(24), nullable=False),
        sa.Column("about", sa.String(64), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("due_ms", sa.BigInteger),
        sa.Column("leased_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_notice"),
        sa.ForeignKeyConstraint(["recipient_id"], ["person.id"], name="fk_notice_recipient_id"),
        sa.UniqueConstraint(
            "subject", "seq", "recipient_id", "channel", "kind", "about",
            name="uq_notice_subject_seq_recipient_id_channel_kind_about",
        ),
        sqlite_autoincrement=True,
    )  # fmt: skip
    op.create_index("ix_notice_due_ms", "notice", ["due_ms"])
