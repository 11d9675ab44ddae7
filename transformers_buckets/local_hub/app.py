"""The routes of the local Hub and what stands behind them."""

from pathlib import Path

import hf_xet
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from . import accounts, bucket_files, buckets, control, repo_files, repos
from .errors import HubError, client_gone_response, hub_error_response, unknown_route_response
from .store import Store
from .traffic import Traffic
from .xet import storage as xet_storage
from .xet.tokens import XetTokens


BUCKET = "/api/buckets/{namespace}/{name}"
REPO = "/api/{repo_type:repo_type}/{namespace}/{name}"

ROUTES = [
    Route("/api/whoami-v2", accounts.whoami),
    Route("/api/validate-yaml", repos.validate_card, methods=["POST"]),
    # Buckets
    Route("/api/buckets/{namespace}", buckets.list_buckets),
    Route(BUCKET, buckets.create_bucket, methods=["POST"]),
    Route(BUCKET, buckets.bucket_info),
    Route(BUCKET, buckets.delete_bucket, methods=["DELETE"]),
    Route(BUCKET + "/settings", buckets.update_bucket, methods=["PUT"]),
    Route(BUCKET + "/tree", bucket_files.list_tree),
    Route(BUCKET + "/tree/{prefix:path}", bucket_files.list_tree),
    Route(BUCKET + "/paths-info", bucket_files.paths_info, methods=["POST"]),
    Route(BUCKET + "/batch", bucket_files.batch, methods=["POST"]),
    Route(BUCKET + "/xet-{scope}-token", buckets.bucket_xet_token),
    Route("/buckets/{namespace}/{name}/resolve/{path:path}", bucket_files.resolve),
    # Repos
    Route("/api/repos/create", repos.create_repo, methods=["POST"]),
    Route("/api/repos/delete", repos.delete_repo, methods=["DELETE"]),
    Route("/api/repos/move", repos.move, methods=["POST"]),
    Route(REPO, repos.repo_info),
    Route(REPO + "/revision/{revision}", repos.repo_info),
    Route(REPO + "/settings", repos.update_repo, methods=["PUT"]),
    Route(REPO + "/auth-check", repos.check_access),
    Route(REPO + "/auth-check/write", repos.check_access),
    Route(REPO + "/refs", repos.list_refs),
    Route(REPO + "/branch/{branch}", repos.create_branch, methods=["POST"]),
    Route(REPO + "/branch/{branch}", repos.delete_branch, methods=["DELETE"]),
    Route(REPO + "/tree/{revision}", repo_files.list_tree),
    Route(REPO + "/tree/{revision}/{path:path}", repo_files.list_tree),
    Route(REPO + "/paths-info/{revision}", repo_files.paths_info, methods=["POST"]),
    Route(REPO + "/preupload/{revision}", repo_files.preupload, methods=["POST"]),
    Route(REPO + "/commit/{revision}", repo_files.commit, methods=["POST"]),
    Route(REPO + "/commits/{revision}", repo_files.list_commits),
    Route(REPO + "/lfs-files/duplicate", repo_files.share_contents, methods=["POST"]),
    Route(REPO + "/xet-{scope}-token/{revision}", repos.repo_xet_token),
    Route("/{repo_type:repo_type}/{namespace}/{name}/resolve/{revision}/{path:path}", repo_files.resolve),
    Route("/{namespace}/{name}/resolve/{revision}/{path:path}", repo_files.resolve),
    Route("/api/{repo_type:repo_type}/{name}", repos.without_namespace),
    Route("/api/{repo_type:repo_type}/{name}/revision/{revision}", repos.without_namespace),
    Route("/{name}/resolve/{revision}/{path:path}", repos.without_namespace),
    # Xet storage
    Route("/v1/xorbs/default/{hash}", xet_storage.post_xorb, methods=["POST"]),
    Route("/v1/shards", xet_storage.post_shard_v1, methods=["POST"]),
    Route("/v2/shards", xet_storage.post_shard_v2, methods=["POST"]),
    Route("/v1/chunks/default/{hash}", xet_storage.get_chunk),
    Route("/{version}/reconstructions/{hash}", xet_storage.get_reconstruction),
    Route("/xorbs/{hash}", xet_storage.get_xorb),
    Route("/v1/telemetry", xet_storage.accept_telemetry, methods=["POST"]),
    # For LocalHub
    Route("/_local_hub/{command}", control.control, methods=["POST"]),
]

# For `resolve`, where this server is a client of its own storage: what is read ahead waits in memory.
XET_CONFIG = {
    "reconstruction.download_buffer_size": 128_000_000,
    "reconstruction.download_buffer_limit": 256_000_000,
    "reconstruction.min_prefetch_buffer": 64_000_000,
    "telemetry.enabled": False,
}

EXCEPTION_HANDLERS = {
    HubError: hub_error_response,
    ClientDisconnect: client_gone_response,
    404: unknown_route_response,
    405: unknown_route_response,
}


def build_app(directory: Path, secret: str) -> Traffic:
    """The whole Hub as an ASGI app, with its parts in `app.state` where the routes find them.

    Args:
        directory (`Path`):
            The data folder, created if missing.
        secret (`str`):
            Opens the control routes.
    """
    app = Starlette(routes=ROUTES, exception_handlers=EXCEPTION_HANDLERS)
    state = app.state
    state.store = Store(directory)
    state.accounts = accounts.Accounts(state.store)
    state.xet_tokens = XetTokens(state.store)
    state.xet_storage = xet_storage.XetStorage(state.store)
    state.xet_session = hf_xet.XetSession(hf_xet.XetConfig().with_config(XET_CONFIG))
    state.internal_secret = secret
    state.traffic = Traffic(app, secret)
    return state.traffic
