"""Indexes for what requests look up, so that many algorithms and versions slow none of it."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("algorithms", sa.Column("is_public", sa.Boolean(), nullable=False, server_default=sa.false()))
    algorithms = sa.table("algorithms", sa.column("settings", sa.JSON), sa.column("is_public", sa.Boolean))
    is_public = algorithms.c.settings["algorithm_callability"].as_string() == "public"
    op.execute(sa.update(algorithms).where(is_public).values(is_public=True))
    op.create_index("algorithms_by_callability", "algorithms", ["account_id", "is_public", "name"], unique=False)
    op.add_column("failures", sa.Column("account_id", sa.String(length=36), nullable=True))
    op.execute(
        "UPDATE failures SET account_id ="
        " (SELECT account_id FROM algorithms WHERE algorithms.id = failures.algorithm_id)"
    )
    op.create_index("failures_of_account", "failures", ["account_id", "created"], unique=False)
    op.create_index("deployments_by_time", "deployments", ["algorithm_id", "created", "id"], unique=False)
    op.create_index("deployments_of_release", "deployments", ["release_id", "created"], unique=False)
    op.create_index("builds_by_commit", "builds", ["algorithm_id", "commit", "started"], unique=False)
    op.create_index("builds_by_state", "builds", ["algorithm_id", "state", "started", "id"], unique=False)
    op.drop_index("builds_by_time", "builds")
    op.create_index("builds_by_time", "builds", ["algorithm_id", "started", "id"], unique=False)
    op.drop_index("keys_of_account", "keys")
    op.create_index("keys_of_account", "keys", ["account_id", "publisher_id"], unique=False)
