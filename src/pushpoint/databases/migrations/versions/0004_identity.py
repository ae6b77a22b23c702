"""Organizations and their members, passwords, what keys are limited to; secrets, failed calls, insights."""

import sqlalchemy as sa
from alembic import op

from pushpoint.databases.tables import Moment

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("accounts", sa.Column("is_organization", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("accounts", sa.Column("details", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("accounts", sa.Column("password", sa.Text(), nullable=True))
    op.create_table(
        "members",
        sa.Column("organization_id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("is_owner", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["organization_id"], ["accounts.id"]),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"]),
        sa.PrimaryKeyConstraint("organization_id", "account_id"),
    )
    op.create_index("members_by_account", "members", ["account_id"], unique=False)
    # of keys from before, which are kept as hashes alone, nobody knows how they begin
    op.add_column("keys", sa.Column("mask", sa.String(length=20), nullable=False, server_default="sim..."))
    op.add_column("keys", sa.Column("patterns", sa.JSON(), nullable=False, server_default='["algo://*"]'))
    op.add_column("keys", sa.Column("last_used", Moment(), nullable=True))
    op.create_index("keys_of_account", "keys", ["account_id"], unique=False)
    op.create_table(
        "secrets",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("algorithm_id", sa.String(length=36), nullable=False),
        sa.Column("label", sa.String(length=100), nullable=False),
        sa.Column("variable", sa.String(length=100), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created", Moment(), nullable=False),
        sa.Column("modified", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["algorithm_id"], ["algorithms.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("algorithm_id", "variable"),
    )
    op.create_table(
        "failures",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("algorithm_id", sa.String(length=36), nullable=False),
        sa.Column("created", Moment(), nullable=False),
        sa.Column("request_id", sa.String(length=40), nullable=False),
        sa.Column("caller", sa.String(length=30), nullable=False),
        sa.Column("version", sa.String(length=40), nullable=False),
        sa.Column("input", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("error_type", sa.String(length=60), nullable=False),
        sa.ForeignKeyConstraint(["algorithm_id"], ["algorithms.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("failures_of_algorithm", "failures", ["algorithm_id", "created"], unique=False)
    op.create_table(
        "insights",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("algorithm_id", sa.String(length=36), nullable=False),
        sa.Column("created", Moment(), nullable=False),
        sa.Column("request_id", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=100), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["algorithm_id"], ["algorithms.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("insights_of_algorithm", "insights", ["algorithm_id", "created"], unique=False)
