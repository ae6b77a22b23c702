"""Algorithms on git hosts: where they are fetched from, and which of a host's deliveries were seen."""

import sqlalchemy as sa
from alembic import op

from pushpoint.databases.tables import Moment

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "sources",
        sa.Column("algorithm_id", sa.String(length=36), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("branch", sa.Text(), nullable=True),
        sa.Column("username", sa.Text(), nullable=True),
        sa.Column("token", sa.Text(), nullable=True),
        sa.Column("webhook_secret", sa.Text(), nullable=False),
        sa.Column("created", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["algorithm_id"], ["algorithms.id"]),
        sa.PrimaryKeyConstraint("algorithm_id"),
    )
    op.create_table(
        "deliveries",
        sa.Column("algorithm_id", sa.String(length=36), nullable=False),
        sa.Column("delivery", sa.String(length=64), nullable=False),
        sa.Column("received", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["algorithm_id"], ["algorithms.id"]),
        sa.PrimaryKeyConstraint("algorithm_id", "delivery"),
    )
    op.create_index("deliveries_by_time", "deliveries", ["received"], unique=False)
