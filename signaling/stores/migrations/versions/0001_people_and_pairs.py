"""The first tables: people, pairs, what they log in with, and the audit.

Written out, not taken from stores/tables.py: that one goes on changing, this one never does.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    programme = op.create_table(
        "programme",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("relay_policy", sa.String(8)),
        sa.Column("retention_days", sa.Integer),
        sa.Column("retention_count", sa.Integer),
        sa.PrimaryKeyConstraint("id", name="pk_programme"),
        sa.CheckConstraint("relay_policy IN ('all', 'relay')", name=op.f("ck_programme_relay_policy")),
    )
    op.bulk_insert(programme, [{"id": "default"}])
    op.create_table(
        "person",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("email_key", sa.String(254), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("tz", sa.String(64), nullable=False, server_default="UTC"),
        sa.Column("language", sa.String(16), nullable=False, server_default="en"),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_person"),
        sa.UniqueConstraint("email_key", name="uq_person_email_key"),
    )
    op.create_table(
        "pair",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("programme_id", sa.String(36), nullable=False),
        sa.Column("mentor_id", sa.String(36), nullable=False),
        sa.Column("mentee_id", sa.String(36), nullable=False),
        sa.Column("slug", sa.String(26), nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("removed_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_pair"),
        sa.ForeignKeyConstraint(["programme_id"], ["programme.id"], name="fk_pair_programme_id"),
        sa.ForeignKeyConstraint(["mentor_id"], ["person.id"], name="fk_pair_mentor_id"),
        sa.ForeignKeyConstraint(["mentee_id"], ["person.id"], name="fk_pair_mentee_id"),
        sa.UniqueConstraint("slug", name="uq_pair_slug"),
        sa.CheckConstraint("mentor_id <> mentee_id", name=op.f("ck_pair_two_people")),
    )
    op.create_index("ix_pair_mentor_id", "pair", ["mentor_id"])
    op.create_index("ix_pair_mentee_id", "pair", ["mentee_id"])
    op.create_index(
        "uq_pair_living",
        "pair",
        ["programme_id", "mentor_id", "mentee_id"],
        unique=True,
        sqlite_where=sa.text("removed_ms IS NULL"),
        postgresql_where=sa.text("removed_ms IS NULL"),
    )
    op.create_table(
        "link",
        sa.Column("token_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("person_id", sa.String(36), nullable=False),
        sa.Column("pair_id", sa.String(36)),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_ms", sa.BigInteger, nullable=False),
        sa.Column("used_ms", sa.BigInteger),
        sa.Column("revoked_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("token_hash", name="pk_link"),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name="fk_link_person_id"),
        sa.ForeignKeyConstraint(["pair_id"], ["pair.id"], name="fk_link_pair_id"),
    )
    op.create_index("ix_link_person_id", "link", ["person_id"])
    op.create_table(
        "login",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("person_id", sa.String(36), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("last_used_ms", sa.BigInteger, nullable=False),
        sa.Column("revoked_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_login"),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name="fk_login_person_id"),
        sa.UniqueConstraint("secret_hash", name="uq_login_secret_hash"),
    )
    op.create_index("ix_login_person_id", "login", ["person_id"])
    op.create_table(
        "access_token",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("person_id", sa.String(36), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_ms", sa.BigInteger, nullable=False),
        sa.Column("revoked_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_access_token"),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name="fk_access_token_person_id"),
        sa.UniqueConstraint("token_hash", name="uq_access_token_token_hash"),
    )
    op.create_index("ix_access_token_person_id", "access_token", ["person_id"])
    op.create_table(
        "audit",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False, autoincrement=True
        ),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("person_id", sa.String(36)),
        sa.Column("pair_id", sa.String(36)),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name="fk_audit_person_id"),
        sa.ForeignKeyConstraint(["pair_id"], ["pair.id"], name="fk_audit_pair_id"),
        sqlite_autoincrement=True,
    )
