"""Repos as a whole: create, show, change, move, delete, and their branches."""

import sqlite3

from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from . import buckets
from .accounts import Account, not_found, require_read, require_write
from .commits import add_commit, first_tree, head_of, read_commit, read_tree
from .errors import HubError
from .store import Store


class RepoTypeConvertor(Convertor[str]):
    """`models`, `datasets` or `spaces` in an address, as the type of a repo."""

    regex = "models|datasets|spaces"

    def convert(self, value: str) -> str:
        return value.removesuffix("s")

    def to_string(self, value: str) -> str:
        return f"{value}s"


register_url_convertor("repo_type", RepoTypeConvertor())


def find_repo(request: Request, write: bool = False) -> sqlite3.Row:
    """The repo in the address of a request, if the caller may read it (with `write`: may change it)."""
    account = request.app.state.accounts.authenticate(request)
    params = request.path_params
    repo_type, namespace, name = params.get("repo_type", "model"), params["namespace"], params["name"]
    return _find(request.app.state.store, account, repo_type, namespace, name, write)


def readable_repo(store: Store, account: Account, repo_type: str, repo_id: str) -> sqlite3.Row:
    """The repo `namespace/name`, named inside of a request, if `account` may read it."""
    namespace, _, name = repo_id.partition("/")
    return _find(store, account, repo_type, namespace, name, write=False)


def _find(store: Store, account: Account, repo_type: str, namespace: str, name: str, write: bool) -> sqlite3.Row:
    repo = store.row("SELECT * FROM repos WHERE type = ? AND namespace = ? AND name = ?", repo_type, namespace, name)
    if repo is None:
        raise not_found(account)
    require_read(account, namespace, repo["private"])
    if write:
        require_write(account, namespace)
    return repo


def repo_holds(store: Store, repo: sqlite3.Row, xet_hash: str) -> bool:
    """Whether any commit of a repo has a file with this content."""
    return any(
        entry.xet_hash == xet_hash
        for commit in store.rows("SELECT oid FROM commits WHERE repo = ?", repo["id"])
        for entry in read_tree(store, commit["oid"]).values()
    )


def repo_url(request: Request, repo_type: str, repo_id: str) -> str:
    kind = "" if repo_type == "model" else f"{repo_type}s/"
    return f"{request.base_url}{kind}{repo_id}"


async def without_namespace(request: Request) -> Response:
    """No repo has a name alone, such as `gpt2`."""
    raise not_found(request.app.state.accounts.authenticate(request))


async def create_repo(request: Request) -> JSONResponse:
    store: Store = request.app.state.store
    account = request.app.state.accounts.authenticate(request)
    settings = await request.json()
    repo_type, name = settings.get("type") or "model", settings["name"]
    namespace = settings.get("organization") or account.user or ""
    require_write(account, namespace)
    repo_id = f"{namespace}/{name}"
    url = repo_url(request, repo_type, repo_id)
    try:
        with store.transaction():
            repo = store.row(
                "INSERT INTO repos (type, namespace, name, private, created_at) VALUES (?, ?, ?, ?, ?) RETURNING *",
                *(repo_type, namespace, name, settings.get("visibility") == "private", store.now()),
            )
            add_commit(store, repo, "main", None, first_tree(store), "initial commit", "", account.user)
    except sqlite3.IntegrityError as error:
        raise HubError(409, f"You already created this {repo_type} repo", url=url) from error
    return JSONResponse({"url": url, "name": repo_id, "id": repo_id})


async def repo_info(request: Request) -> JSONResponse:
    store: Store = request.app.state.store
    repo = find_repo(request)
    oid = head_of(store, repo, request.path_params.get("revision", "main"))
    tree = read_tree(store, oid)
    with_blobs = "blobs" in request.query_params
    repo_id = f"{repo['namespace']}/{repo['name']}"
    siblings = []
    for path, entry in tree.items():
        sibling = {"rfilename": path}
        if with_blobs:
            sibling |= {"size": entry.size, "blobId": entry.oid}
            if entry.sha256:
                lfs = entry.lfs_json()
                sibling["lfs"] = {"sha256": lfs["oid"], "size": lfs["size"], "pointerSize": lfs["pointerSize"]}
        siblings.append(sibling)
    return JSONResponse(
        {
            "_id": str(repo["id"]),
            "id": repo_id,
            "modelId": repo_id,
            "author": repo["namespace"],
            "sha": oid,
            "createdAt": repo["created_at"],
            "lastModified": read_commit(store, oid)["created_at"],
            "private": bool(repo["private"]),
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": siblings,
            "usedStorage": sum(entry.size for entry in tree.values()),
        }
    )


async def update_repo(request: Request) -> JSONResponse:
    repo = find_repo(request, write=True)
    private = (await request.json()).get("visibility") == "private"
    request.app.state.store.execute("UPDATE repos SET private = ? WHERE id = ?", private, repo["id"])
    return JSONResponse({"private": private})


async def delete_repo(request: Request) -> Response:
    store: Store = request.app.state.store
    account = request.app.state.accounts.authenticate(request)
    named = await request.json()
    namespace = named.get("organization") or account.user or ""
    repo = _find(store, account, named.get("type") or "model", namespace, named["name"], write=True)
    store.execute("DELETE FROM repos WHERE id = ?", repo["id"])
    return Response("OK")


async def move(request: Request) -> Response:
    """Renames a repo or a bucket, also into another namespace."""
    store: Store = request.app.state.store
    account = request.app.state.accounts.authenticate(request)
    named = await request.json()
    origin, destination, repo_type = named["fromRepo"], named["toRepo"], named["type"]
    if repo_type == "bucket":
        buckets.move_bucket(request, account, origin, destination)
        return Response("OK")
    repo = _find(store, account, repo_type, *origin.split("/"), write=True)
    namespace, name = destination.split("/")
    require_write(account, namespace)
    try:
        store.execute("UPDATE repos SET namespace = ?, name = ? WHERE id = ?", namespace, name, repo["id"])
    except sqlite3.IntegrityError as error:
        url = repo_url(request, repo_type, destination)
        raise HubError(409, f"A {repo_type} repository called {destination} already exists", url=url) from error
    return Response("OK")


async def check_access(request: Request) -> Response:
    find_repo(request, write=request.url.path.endswith("/write"))
    return Response("OK")


async def list_refs(request: Request) -> JSONResponse:
    repo = find_repo(request)
    branches = request.app.state.store.rows("SELECT * FROM branches WHERE repo = ? ORDER BY name", repo["id"])
    return JSONResponse(
        {
            "branches": [
                {"name": branch["name"], "ref": f"refs/heads/{branch['name']}", "targetCommit": branch["head"]}
                for branch in branches
            ],
            "converts": [],
            "tags": [],
            "pullRequests": [],
        }
    )


async def create_branch(request: Request) -> Response:
    store: Store = request.app.state.store
    repo = find_repo(request, write=True)
    name = request.path_params["branch"]
    head = head_of(store, repo, (await request.json()).get("startingPoint", "main"))
    try:
        store.execute("INSERT INTO branches VALUES (?, ?, ?)", repo["id"], name, head)
    except sqlite3.IntegrityError as error:
        raise HubError(409, f"Reference refs/heads/{name} already exists") from error
    return Response("OK")


async def delete_branch(request: Request) -> Response:
    repo = find_repo(request, write=True)
    name = request.path_params["branch"]
    deleted = request.app.state.store.row(
        "DELETE FROM branches WHERE repo = ? AND name = ? RETURNING name", repo["id"], name
    )
    if deleted is None:
        raise HubError(404, f"Invalid rev id: refs/heads/{name}", "RevisionNotFound")
    return Response("OK")


async def repo_xet_token(request: Request) -> JSONResponse:
    scope = request.path_params["scope"]
    find_repo(request, write=scope == "write")
    return request.app.state.xet_tokens.grant(request, scope).response()


async def validate_card(request: Request) -> JSONResponse:
    """Accepts every model card: the metadata of a card has no meaning here."""
    await request.body()
    return JSONResponse({"errors": [], "warnings": []})
