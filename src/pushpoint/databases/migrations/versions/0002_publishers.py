"""Trusted publishers, tokens that were used, keys that end and are for one algorithm, and which run of CI did what."""

import sqlalchemy as sa
from alembic import op

from pushpoint.databases.tables import Moment

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "publishers",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("algorithm_id", sa.String(length=36), nullable=False),
        sa.Column("issuer", sa.String(length=255), nullable=False),
        sa.Column("repository", sa.String(length=255), nullable=False),
        sa.Column("repository_id", sa.String(length=40), nullable=True),
        sa.Column("ref", sa.String(length=255), nullable=False),
        sa.Column("workflow", sa.String(length=255), nullable=True),
        sa.Column("environment", sa.String(length=255), nullable=True),
        sa.Column("collection", sa.String(length=30), nullable=False),
        sa.Column("created", Moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["algorithm_id"],
            ["algorithms.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("publishers_of_issuer", "publishers", ["issuer"], unique=False)
    op.create_index("publishers_of_algorithm", "publishers", ["algorithm_id"], unique=False)
    op.create_table(
        "used_tokens",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("expires", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("hash"),
    )
    op.create_index("used_tokens_by_end", "used_tokens", ["expires"], unique=False)
    # SQLite gives no constraint to a table that is there: the table is made anew
    with op.batch_alter_table("keys") as keys:
        keys.add_column(sa.Column("expires", Moment(), nullable=True))
        keys.add_column(
            sa.Column(
                "algorithm_id",
                sa.String(length=36),
                sa.ForeignKey("algorithms.id", name="keys_of_algorithm"),
                nullable=True,
            )
        )
        keys.add_column(sa.Column("collection", sa.String(length=30), nullable=True))
        keys.add_column(sa.Column("publisher_id", sa.String(length=36), nullable=True))
        keys.add_column(sa.Column("run", sa.Text(), nullable=True))
    op.add_column("deployments", sa.Column("run", sa.Text(), nullable=True))
    op.add_column("history", sa.Column("run", sa.Text(), nullable=True))
