"""Uploads that can be resumed: what is there of each, and what it becomes."""

import sqlalchemy as sa
from alembic import op

from pushpoint.databases.tables import Moment

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("account_id", sa.String(length=36), nullable=False),
        sa.Column("limited_to", sa.String(length=30), nullable=True),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=71), nullable=True),
        sa.Column("create_only", sa.Boolean(), nullable=False),
        sa.Column("concat", sa.Text(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("expires", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("uploads_of_account", "uploads", ["account_id", "path"], unique=False)
    op.create_index("uploads_by_end", "uploads", ["expires"], unique=False)
