"""The routes of the local Hub and what stands behind them."""

import hf_xet
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from . import accounts, bucket_files, buckets, repo_files, repos, revisions
from .door import Door
from .errors import HubError, client_gone_response, hub_error_response, no_unicode_response, unknown_route_response
from .store import Store
from .xet import storage
from .xet.xorb import MAX_CONTENT


BUCKET = "/api/{repo_type:bucket}/{namespace}/{name}"
REPO = "/api/{repo_type:repo_type}/{namespace}/{name}"

# What a request may bring, in bytes: as JSON in memory, that is 25 times as much. A xorb has headers and a footer, too.
_MAX_JSON = 4 * 1024 * 1024
_MAX_CONTENT = MAX_CONTENT + 1024 * 1024

ROUTES = [
    Route("/api/whoami-v2", accounts.whoami),
    Route("/api/validate-yaml", repo_files.validate_card, methods=["POST"]),
    # Buckets
    Route("/api/buckets/{namespace}", buckets.list_buckets),
    Route(BUCKET, repos.create_bucket, methods=["POST"]),
    Route(BUCKET, buckets.bucket_info),
    Route(BUCKET, repos.delete_bucket, methods=["DELETE"]),
    Route(BUCKET + "/settings", repos.update_settings, methods=["PUT"]),
    Route(BUCKET + "/tree", bucket_files.list_tree),
    Route(BUCKET + "/tree/{prefix:path}", bucket_files.list_tree),
    Route(BUCKET + "/paths-info", bucket_files.paths_info, methods=["POST"]),
    Route(BUCKET + "/batch", bucket_files.batch, methods=["POST"]),
    Route(BUCKET + "/xet-{scope}-token", repos.xet_token),
    Route("/{repo_type:bucket}/{namespace}/{name}/resolve/{path:path}", bucket_files.resolve),
    # Repos
    Route("/api/repos/create", repos.create_repo, methods=["POST"]),
    Route("/api/repos/delete", repos.delete_repo, methods=["DELETE"]),
    Route("/api/repos/move", repos.move, methods=["POST"]),
    Route(REPO, revisions.repo_info),
    Route(REPO + "/revision/{revision}", revisions.repo_info),
    Route(REPO + "/settings", repos.update_settings, methods=["PUT"]),
    Route(REPO + "/refs", revisions.list_refs),
    Route(REPO + "/branch/{branch}", revisions.create_branch, methods=["POST"]),
    Route(REPO + "/branch/{branch}", revisions.delete_branch, methods=["DELETE"]),
    Route(REPO + "/tree/{revision}", repo_files.list_tree),
    Route(REPO + "/tree/{revision}/{path:path}", repo_files.list_tree),
    Route(REPO + "/paths-info/{revision}", repo_files.paths_info, methods=["POST"]),
    Route(REPO + "/preupload/{revision}", repo_files.preupload, methods=["POST"]),
    Route(REPO + "/commit/{revision}", repo_files.commit, methods=["POST"], max_body_size=_MAX_CONTENT),
    Route(REPO + "/commits/{revision}", revisions.list_commits),
    Route(REPO + "/lfs-files/duplicate", repo_files.share_contents, methods=["POST"]),
    Route(REPO + "/xet-{scope}-token/{revision}", repos.xet_token),
    Route("/{repo_type:repo_type}/{namespace}/{name}/resolve/{revision}/{path:path}", repo_files.resolve),
    Route("/{namespace}/{name}/resolve/{revision}/{path:path}", repo_files.resolve),
    Route("/api/{repo_type:repo_type}/{name}", repos.without_namespace),
    Route("/api/{repo_type:repo_type}/{name}/revision/{revision}", repos.without_namespace),
    Route("/{name}/resolve/{revision}/{path:path}", repos.without_namespace),
    # Xet storage
    Route("/v1/xorbs/default/{hash}", storage.post_xorb, methods=["POST"], max_body_size=_MAX_CONTENT),
    Route("/v2/shards", storage.post_shard, methods=["POST"], max_body_size=_MAX_CONTENT),
    Route("/v1/chunks/default/{hash}", storage.get_chunk),
    Route("/v2/reconstructions/{hash}", storage.get_reconstruction),
    Route("/xorbs/{hash}", storage.get_xorb),
    Route("/v1/telemetry", storage.accept_telemetry, methods=["POST"]),
]

EXCEPTION_HANDLERS = {
    HubError: hub_error_response,
    ClientDisconnect: client_gone_response,
    UnicodeEncodeError: no_unicode_response,
    404: unknown_route_response,
    405: unknown_route_response,
}


# For `resolve`, where this server is a client of its own storage: what is read ahead waits in memory.
_XET_CONFIG = {
    "reconstruction.download_buffer_size": 128_000_000,
    "reconstruction.download_buffer_limit": 256_000_000,
    "reconstruction.min_prefetch_buffer": 64_000_000,
    "telemetry.enabled": False,
}


def build_app(store: Store) -> Starlette:
    """The whole Hub as an ASGI app, with its parts in `app.state` where the routes find them."""
    app = Starlette(
        routes=ROUTES,
        middleware=[Middleware(Door)],
        exception_handlers=EXCEPTION_HANDLERS,
        max_body_size=_MAX_JSON,
    )
    app.state.store = store
    app.state.xet_session = hf_xet.XetSession(hf_xet.XetConfig().with_config(_XET_CONFIG))
    app.state.own_headers = {}  # of the requests that the server sends to itself
    return app
